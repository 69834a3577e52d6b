"""How long a server asks to be left alone: the Retry-After header of RFC 9110."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"-?[0-9]+")


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the wait in seconds, 0.0 for one that is over, None for none that is legible.

    A date counts from the server's own Date header, so that its clock need not agree with
    ours; without one from `wall`, in unix seconds. However long the wait, it is told as it is.
    """
    value = headers.get("Retry-After", "").strip()
    if SECONDS.fullmatch(value):
        return max(0.0, float(value))
    until = _unix(value)
    if until is None:
        return None
    server = _unix(headers.get("Date", ""))
    return max(0.0, until - (wall if server is None else server))


def _unix(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
