"""What stands in the file of failed logins: written, and read with suspicion."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from refresherd.domain.login_budget import NEVER_YET, History
from refresherd.domain.model import Instant

LONGEST = 32 * 1024 * 1024
"""As many bytes are read of the file: ten thousand credentials that fail all day take 10 MB."""

VERSION = 1

HEX = re.compile(r"[0-9a-f]{64}")
"""256 bits: the key of the fingerprints, and each of those."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What boot time meant at a moment: of which boot, `now` in it, and wall time less that.

    `id` is the kernel's, "" where it cannot be told.
    """

    id: str
    now: Instant
    offset: float


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """The key of the fingerprints, and the histories by fingerprint."""

    key: bytes
    histories: Mapping[str, History]


def written(record: LoginRecord, boot: Boot) -> bytes:
    """Return the file's content. Instants are boot time: no clock that is set moves them."""
    fields = {
        "version": VERSION,
        "key": record.key.hex(),
        "boot_id": boot.id,
        "wall_offset": boot.offset,
        "credentials": {name: _fields(history) for name, history in record.histories.items()},
    }
    return (json.dumps(fields) + "\n").encode()


def parsed(raw: bytes, boot: Boot) -> LoginRecord:
    """Return the record in the file, in the boot time of now. Raises ValueError; quotes nothing.

    What an earlier boot wrote is translated by the wall clocks of then and now. What seems to
    lie ahead happened just now, for it did happen.
    """
    if len(raw) > LONGEST:
        raise ValueError(f"it has over {LONGEST} bytes")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if _of(fields, "version", int) != VERSION:
        raise ValueError("it is of another version")
    key = _hex(_of(fields, "key", str))
    same = bool(boot.id) and _of(fields, "boot_id", str) == boot.id
    shift = 0.0 if same else _number(_of(fields, "wall_offset", object)) - boot.offset
    credentials = _of(fields, "credentials", dict)
    histories = {_hex(name): _history(kept, shift, boot.now) for name, kept in credentials.items()}
    return LoginRecord(bytes.fromhex(key), histories)


def _fields(history: History) -> dict[str, object]:
    return {
        "refused": history.refused,
        "cut_off": history.cut_off,
        "good_at": None if history.good_at == NEVER_YET else history.good_at,
    }


def _history(fields: object, shift: float, now: Instant) -> History:
    def instants(kept: list[Any]) -> tuple[Instant, ...]:
        return tuple(sorted(Instant(min(_number(at) + shift, now)) for at in kept))

    refused, cut_off = _of(fields, "refused", list), _of(fields, "cut_off", list)
    good = instants([at for at in [_of(fields, "good_at", object)] if at is not None])
    return History(instants(refused), instants(cut_off), *good)


def _of(fields: object, key: str, kind: type[Any]) -> Any:  # noqa: ANN401  # as JSON has it
    if isinstance(fields, dict) and key in fields and isinstance(fields[key], kind):
        return fields[key]
    raise ValueError(f"it has no {key}")


def _number(value: object) -> float:
    with suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    raise ValueError("it has an instant that is no number")


def _hex(text: str) -> str:
    if HEX.fullmatch(text) is None:
        raise ValueError("it has a fingerprint or a key that is none")
    return text
