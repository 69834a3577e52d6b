"""What a request's query asks for, or what is wrong with it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from refresherd.domain.model import Format

Pairs = Iterable[tuple[str, str]]

SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")

LONGEST_WAIT = 300.0
"""Seconds. Whoever asks for more is answered after that."""

WAIT_FOR_LASTING = 10.0
"""Seconds that a request with `min_ttl` waits, unless it says how long."""

WAIT_FOR_REFRESH = 60.0
"""Seconds that a refresh waits for the end of its attempt, unless it says how long."""


class BadParameter(Exception):
    """A query that asks for what there is not; its text says which parameter, and what is right."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Which token, in which format, and how long to wait for it. Times in seconds."""

    form: Format = Format.JSON
    min_ttl: float = 0.0
    wait: float = 0.0
    watch: bool = False


USUAL = TokenQuery()


def token_query(pairs: Pairs) -> TokenQuery:
    """Return what is asked of a token. Raises BadParameter."""
    given = _given(pairs, ("format", "min_ttl", "wait", "watch"))
    if not given:
        return USUAL
    query = TokenQuery(
        form=_format(given.get("format", Format.JSON)),
        min_ttl=_seconds("min_ttl", given.get("min_ttl", "0")),
        wait=_wait(given, WAIT_FOR_LASTING if "min_ttl" in given else 0.0),
        watch=_flag("watch", given.get("watch", "0")),
    )
    if query.watch:
        _refuse_beside_watch(query, given)
    return query


def refresh_query(pairs: Pairs) -> float:
    """Return how many seconds to wait for a refresh's end. Raises BadParameter."""
    return _wait(_given(pairs, ("wait",)), WAIT_FOR_REFRESH)


def no_query(pairs: Pairs) -> None:
    """Raise BadParameter for any parameter."""
    _given(pairs, ())


def _refuse_beside_watch(query: TokenQuery, given: Mapping[str, str]) -> None:
    if query.form is not Format.JSON:
        raise BadParameter("format", "format: a watch answers in json only; leave it out")
    for name in ("min_ttl", "wait"):
        if name in given:
            raise BadParameter(name, f"{name}: a watch tells of every token; leave it out")


def _given(pairs: Pairs, allowed: tuple[str, ...]) -> Mapping[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            known = f"there are {', '.join(allowed)}" if allowed else "there are none here"
            raise BadParameter(name, f"{name}: there is no such parameter; {known}")
        if name in given:
            raise BadParameter(name, f"{name}: it is given twice; give it once")
        given[name] = value
    return given


def _format(value: str) -> Format:
    try:
        return Format(value)
    except ValueError:
        known = ", ".join(Format)
        raise BadParameter(
            "format", f"format: there is no such format; there are {known}"
        ) from None


def _wait(given: Mapping[str, str], default: float) -> float:
    if "wait" not in given:
        return default
    return min(_seconds("wait", given["wait"]), LONGEST_WAIT)


def _seconds(name: str, value: str) -> float:
    if SECONDS.fullmatch(value) is None:
        raise BadParameter(name, f"{name}: this is no number of seconds; write one such as 30")
    return float(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise BadParameter(name, f"{name}: this is neither 1 nor 0; write one of them")
    return value == "1"
