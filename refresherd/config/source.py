"""The configuration's text: read, and taken apart by the TOML reader."""

import re
import tomllib
from pathlib import Path
from typing import Any

from refresherd.domain.errors import ConfigError

PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")

HINTS = (
    ("Cannot overwrite a value", "this key stands here twice; keep one"),
    ("Cannot declare", "this table stands here twice; put its keys together in one"),
    ("Cannot mutate", "this was given a value before and cannot be added to; keep one"),
    ("Invalid value", 'this is no value; strings stand in quotes, such as "20s"'),
    (
        "Expected newline or end of document",
        'more stands here than one value; modes stand in quotes, such as "0600"',
    ),
    ("Expected '='", "a key needs = and a value after it"),
    ("Expected ']'", "a table's heading needs its closing bracket"),
    ("Invalid statement", "this is neither a key nor a table's heading"),
    ("Unterminated string", "a string lacks its closing quotes"),
    ("Unclosed", "a list or an inline table lacks its closing bracket"),
    ("Unescaped", "a backslash stands for itself in 'single quotes' only"),
)
"""What the reader's complaints mean to somebody who does not know TOML's grammar."""


def read_text(path: Path) -> str:
    """Return the file's text. Raises ConfigError for what cannot be read or is not UTF-8."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _fault(path, 1, "there is no such file; create it, or name another") from None
    except IsADirectoryError:
        raise _fault(path, 1, "this is a directory; name the file in it") from None
    except OSError as error:
        raise _fault(path, 1, f"cannot be read: {error.strerror}") from None
    try:
        # Some editors put a byte order mark first, which TOML has no place for.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(path, line, "this is not UTF-8 text; save the file as UTF-8") from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return the TOML document in a text. Raises ConfigError for what is none."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _fault(path, 1, "lists or tables nest too deeply; write fewer levels") from None
    except tomllib.TOMLDecodeError as error:
        raise _fault(path, *_syntax(str(error), text)) from None
    except ValueError:
        # Python refuses to read an integer of more than 4,300 digits.
        raise _fault(path, 1, "a number has too many digits; write a shorter one") from None


def _syntax(complaint: str, text: str) -> tuple[int, str]:
    """Return the line, and what is wrong there, of what the TOML reader complains about."""
    place = PLACE.search(complaint)
    said = PLACE.sub("", complaint)
    hint = next((hint for start, hint in HINTS if said.startswith(start)), said)
    if place is None or place["line"] is None:
        return text.rstrip().count("\n") + 1, f"no valid TOML, at the file's end: {hint}"
    return int(place["line"]), f"no valid TOML, at column {place['column']}: {hint}"


def _fault(path: Path, line: int, message: str) -> ConfigError:
    return ConfigError((f"{path}:{line}: {message}",))
