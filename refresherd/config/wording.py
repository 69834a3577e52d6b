"""How values and keys are named to operators: as TOML writes them, and never a secret."""

import re
from collections.abc import Iterable
from datetime import date, time
from difflib import get_close_matches
from functools import lru_cache
from json import dumps

from refresherd.config.lines import KeyPath
from refresherd.domain.redaction import holds_secret

LONGEST_SHOWN = 200
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
LARGEST_SHOWN = 10**15
"""Python refuses to print an integer of more than 4,300 digits, which TOML's hex may hold."""


def quoted(text: str) -> str:
    """Return a string as TOML writes it, or "…" where it is too long or may be a secret."""
    if holds_secret(text) or len(text) > LONGEST_SHOWN:
        return '"…"'
    return f'"{text}"' if text.isprintable() and not set(text) & {'"', "\\"} else dumps(text)


def shown(value: object) -> str:
    """Return a value of the file as its operator would recognise it."""
    match value:
        case str():
            return quoted(value)
        case bool():
            return str(value).lower()
        case int() if abs(value) < LARGEST_SHOWN:
            return str(value)
        case float():
            return repr(value)
        case _:
            return "this"


def kind(value: object) -> str:
    """Return what a TOML value is, with its article."""
    match value:
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case date() | time():
            return "a date or time"
        case _:
            return "a table"


def dotted(path: KeyPath) -> str:
    """Return a key path as one would write it: `apps.payments.files[0].mode`."""
    message = ""
    for part in path:
        if isinstance(part, int):
            message += f"[{part}]"
            continue
        bare = BARE_KEY.fullmatch(part) and not holds_secret(part)
        message += ("." if message else "") + (part if bare else quoted(part))
    return message


def listed(words: Iterable[str], last: str = "or") -> str:
    """Return words as a sentence lists them: `a, b or c`."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final


@lru_cache(maxsize=256)
def nearest(word: str, known: tuple[str, ...]) -> str:
    """Return the known word that was perhaps meant, "" if none is near."""
    return next(iter(get_close_matches(word, known, n=1)), "")
