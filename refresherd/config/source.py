"""The configuration file's text: reading it, its TOML syntax, and the line of every key."""

import re
import sys
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from errno import EBADF
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Any

from refresherd.config.findings import Finding, KeyPath, Kind, dotted
from refresherd.config.toml_errors import explain
from refresherd.domain.errors import ConfigError

STANDARD_INPUT = Path("-")
"""Stands for standard input in a path's place; a file of that name needs its absolute path."""

ENCODINGS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""How texts in these encodings begin."""

BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
DOT = re.compile(r"[ \t]*(\.?)[ \t]*")
EQUALS = re.compile(r"[ \t]*=[ \t]*")
HEADER_OPENS = re.compile(r"\[{1,2}[ \t]*")
HEADER_CLOSES = re.compile(r"[ \t]*\]{1,2}")
KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|' r"'[^']*'")
STRING = re.compile(
    # A multi-line string may end with one or two quotes before the three that close it.
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' r"'''.*?'''(?:'{0,2})|" r'"(?:[^"\\]|\\.)*"|' r"'[^']*'",
    re.DOTALL,
)
SCALAR = re.compile(r"[^,\]}#\r\n]*")


def read_text(path: Path) -> str:
    """Return the file's text. Raises ConfigError if it cannot be read or is not UTF-8.

    There is no line to name of a file that cannot be read.
    """
    try:
        raw = _read(path)
    except FileNotFoundError:
        message = "there is no such file; create it, or name another one with --config"
        raise ConfigError((f"{path}: {message}",)) from None
    except IsADirectoryError:
        raise ConfigError((f"{path}: this is a directory; name a file",)) from None
    except OSError as error:
        raise ConfigError((f"{path}: cannot be read: {error.strerror}",)) from None
    return decoded(path, raw)


def decoded(path: Path, raw: bytes) -> str:
    """Return the text in a file's bytes. Raises ConfigError if they are not UTF-8."""
    encoding = next((name for start, name in ENCODINGS if raw.startswith(start)), "")
    if encoding:
        raise fault_at(path, 1, f"this is {encoding} text; save the file as UTF-8")
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise fault_at(path, line, "a NUL character; this is not a text file, or not UTF-8")
    try:
        # Some editors begin a file with a byte order mark, which TOML does not allow.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise fault_at(path, line, "this is not UTF-8 text; save the file as UTF-8") from None


def read_toml(path: Path, text: str) -> dict[str, Any]:
    """Return the TOML document in a text. Raises ConfigError if it is not valid TOML."""
    try:
        # With a last line end, a string without its closing quotes has a place.
        return tomllib.loads(f"{text}\n")
    except RecursionError:
        raise fault_at(path, 1, "lists or tables are nested too deeply; use fewer levels") from None
    except tomllib.TOMLDecodeError as error:
        line, where, hint = explain(text, str(error))
        raise fault_at(path, line, f"invalid TOML {where}: {hint}") from None
    except ValueError:
        # Python does not parse integers of more than 4,300 digits.
        raise fault_at(path, 1, "a number has too many digits; write a shorter one") from None


def report(path: Path, text: str, findings: Iterable[Finding]) -> Mapping[Kind, tuple[str, ...]]:
    """Return the findings of each kind as lines, in the order of the file's lines.

    A line is `FILE:LINE: key.path: message`; `warning:` and `note:` stand before the key path.
    `text` is valid TOML. A finding about a missing key gets the line of the table around it.
    """
    unique = dict.fromkeys(findings)
    # A file without findings is not scanned: ten thousand apps would take seconds.
    return at_lines(path, locate(text) if unique else {}, unique)


def at_lines(
    path: Path, lines: Mapping[KeyPath, int], findings: Iterable[Finding]
) -> Mapping[Kind, tuple[str, ...]]:
    """Do the same for a file whose keys are on these lines."""
    placed: dict[Kind, list[tuple[int, str]]] = {kind: [] for kind in Kind}
    for key, message, kind in findings:
        table = key
        while table and table not in lines:
            table = table[:-1]
        label = f"{kind}: " if kind in {Kind.WARNING, Kind.NOTE} else ""
        written = f"{dotted(key)}: {message}" if key else message
        placed[kind].append((lines.get(table, 1), f"{label}{written}"))
    return {
        kind: tuple(
            f"{path}:{line}: {message}" for line, message in sorted(found, key=itemgetter(0))
        )
        for kind, found in placed.items()
    }


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table and array element of a TOML document.

    `tomllib` reports no lines, so this scans a text that `tomllib` has accepted and validates
    nothing again. Raises ValueError where it cannot go on, which no valid document causes.
    """
    return _Scanner(text).run()


def fault_at(path: Path, line: int, message: str) -> ConfigError:
    """Return the error for a fault on a line."""
    return ConfigError((f"{path}:{line}: {message}",))


def _read(path: Path) -> bytes:
    if path != STANDARD_INPUT:
        return path.read_bytes()
    if sys.stdin is None:
        raise OSError(EBADF, "standard input is closed")
    return sys.stdin.buffer.read()


class _Scanner:
    """Scans a text once, without recursion: a document may nest deeply."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._at = 0
        self._last_indices: dict[KeyPath, int] = {}
        """The last index of each array of tables."""
        self._open: list[tuple[KeyPath, Iterator[int] | None]] = []
        """Arrays, with the indices of the elements to come, and inline tables not yet closed."""
        self._lines: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._take(BLANK)
        while self._at < len(self._text):
            first = self._text[self._at]
            path, indices = self._open[-1] if self._open else (table, None)
            if self._open and first in "]}":
                self._at += 1
                self._open.pop()
            elif indices is not None:
                self._value((*path, next(indices)))
            elif first == "[" and not self._open:
                in_array = self._take(HEADER_OPENS).startswith("[[")
                table = self._key((), in_array=in_array)
                self._take(HEADER_CLOSES)
            else:
                path = self._key(path)
                self._take(EQUALS)
                self._value(path)
            self._take(BLANK)
        return self._lines

    def _key(self, path: KeyPath, *, in_array: bool = False) -> KeyPath:
        """Return the path of a key in a table, or of a new element if it heads `in_array`."""
        dot = "."
        while dot:
            written = self._take(KEY)
            # A quoted key may hold escapes, which tomllib decodes.
            quoted = written[0] in "\"'"
            part = next(iter(tomllib.loads(f"{written}=0"))) if quoted else written
            path = (*path, part)
            self._record(path)
            dot = self._take(DOT).strip()
            if in_array and not dot:
                self._last_indices[path] = self._last_indices.get(path, -1) + 1
            if path in self._last_indices:
                path = (*path, self._last_indices[path])
                self._record(path)
        return path

    def _value(self, path: KeyPath) -> None:
        self._record(path)
        first = self._text[self._at : self._at + 1]
        if first in ("[", "{"):
            self._open.append((path, count() if first == "[" else None))
            self._at += 1
        else:
            self._take(STRING if first in ('"', "'") else SCALAR)

    def _record(self, path: KeyPath) -> None:
        self._lines.setdefault(path, bisect_left(self._newlines, self._at) + 1)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError("this is not a valid TOML document")
        self._at = match.end()
        return match.group()
