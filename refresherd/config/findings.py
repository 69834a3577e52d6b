"""Findings about a configuration, and how keys and values are written in them: never a secret."""

import re
from collections.abc import Iterable
from datetime import date, time
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from json import dumps
from typing import NamedTuple

from refresherd.domain.redaction import holds_secret

KeyPath = tuple[str | int, ...]
"""The place of a value: names of tables and keys, and indices into arrays."""


class Kind(StrEnum):
    """What follows from a finding."""

    FAULT = "fault"
    """Wrong in the file itself: the daemon neither starts nor reloads with it."""
    TROUBLE = "trouble"
    """Missing or unusable on this host for now: the apps that need it wait, and the others run."""
    WARNING = "warning"
    """Allowed, but maybe not meant."""
    NOTE = "note"
    """It cannot be judged here, because only the service manager provides it."""


class Finding(NamedTuple):
    """What is wrong with a key, or may be, and how to correct it."""

    path: KeyPath
    message: str
    kind: Kind = Kind.FAULT


LONGEST_SHOWN = 200
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
LARGEST_SHOWN = 10**15
"""Python does not print integers of more than 4,300 digits, which hexadecimal TOML may hold."""


def quoted(text: str) -> str:
    """Return a string as TOML writes it, or "…" if it is too long or may be a secret."""
    if holds_secret(text) or len(text) > LONGEST_SHOWN:
        return '"…"'
    return f'"{text}"' if text.isprintable() and not set(text) & {'"', "\\"} else dumps(text)


def describe_value(value: object) -> tuple[str, str]:  # noqa: PLR0911 -- one for each type
    """Return a value as TOML writes it, and its type with an article.

    A table, a list and a number that is too large are "this".
    """
    match value:
        case str():
            return quoted(value), "a string"
        case bool():
            return str(value).lower(), "a boolean"
        case int():
            return str(value) if abs(value) < LARGEST_SHOWN else "this", "a number"
        case float():
            return repr(value), "a number"
        case list():
            return "this", "a list"
        case date() | time():
            return "this", "a date or time"
        case _:
            return "this", "a table"


def dotted(path: KeyPath) -> str:
    """Return a key path in writing: `apps.payments.files[0].mode`; a secret in it is hidden."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
            continue
        bare = BARE_KEY.fullmatch(part) and not holds_secret(part)
        written += ("." if written else "") + (part if bare else quoted(part))
    return written


def listed(words: Iterable[str], last: str = "or") -> str:
    """Return words joined as in a sentence: `a, b or c`."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final


@lru_cache(maxsize=256)
def nearest(word: str, known: tuple[str, ...], likeness: float = 0.6) -> str:
    """Return the known word that is most similar, "" if none is similar enough, of 0 to 1."""
    return next(iter(get_close_matches(word, known, n=1, cutoff=likeness)), "")
