"""Which line of a TOML document each of its keys stands on: `tomllib` does not tell."""

import re
import tomllib
from bisect import bisect_left
from dataclasses import dataclass, field

KeyPath = tuple[str | int, ...]
"""Where a value stands: table and key names, and indices into arrays."""

BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
DOT = re.compile(r"[ \t]*(\.?)[ \t]*")
EQUALS = re.compile(r"[ \t]*=[ \t]*")
HEADER_OPENS = re.compile(r"\[{1,2}[ \t]*")
HEADER_CLOSES = re.compile(r"[ \t]*\]{1,2}")
KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|' r"'[^']*'")
STRING = re.compile(
    # A multi-line string may end in up to two quotes of its own before the three that close it.
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' r"'''.*?'''(?:'{0,2})|" r'"(?:[^"\\]|\\.)*"|' r"'[^']*'",
    re.DOTALL,
)
SCALAR = re.compile(r"[^,\]}#\r\n]*")


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table and array element of a TOML document.

    `text` is a document that `tomllib` has read without complaint: nothing is validated
    again. Raises ValueError where the scan cannot go on, which no valid document leads to.
    """
    return _Scanner(text, [match.start() for match in re.finditer("\n", text)]).run()


@dataclass(slots=True)
class _Open:
    """An array, or an inline table (no `index`), whose end has not been seen yet."""

    path: KeyPath
    index: int | None


@dataclass(slots=True)
class _Scanner:
    """Goes through the text once, without recursion: a document may nest deeply.

    `_arrays` tells the last index of each array of tables, `_open` what is not closed yet.
    """

    _text: str
    _newlines: list[int]
    _at: int = 0
    _table: KeyPath = ()
    _arrays: dict[KeyPath, int] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)
    _lines: dict[KeyPath, int] = field(default_factory=dict)

    def run(self) -> dict[KeyPath, int]:
        self._take(BLANK)
        while self._at < len(self._text):
            if self._open:
                self._inside(self._open[-1])
            elif self._text[self._at] == "[":
                self._header()
            else:
                self._pair(self._table)
            self._take(BLANK)
        return self._lines

    def _inside(self, opened: _Open) -> None:
        if self._text[self._at] in "]}":
            self._at += 1
            self._open.pop()
        elif opened.index is None:
            self._pair(opened.path)
        else:
            path = (*opened.path, opened.index)
            opened.index += 1
            self._value(path)

    def _header(self) -> None:
        one_of_many = self._take(HEADER_OPENS).startswith("[[")
        parts = self._key()
        path: KeyPath = ()
        for place, part in enumerate(parts, start=1):
            path = (*path, part)
            self._note(path)
            if one_of_many and place == len(parts):
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._note(path)
        self._table = path
        self._take(HEADER_CLOSES)

    def _pair(self, table: KeyPath) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path)
        self._take(EQUALS)
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        dot = "."
        while dot:
            written = self._take(KEY)
            # A quoted key may hold escapes: the reader itself undoes them.
            quoted = written[0] in "\"'"
            parts.append(next(iter(tomllib.loads(f"{written}=0"))) if quoted else written)
            dot = self._take(DOT).strip()
        return parts

    def _value(self, path: KeyPath) -> None:
        self._note(path)
        first = self._text[self._at : self._at + 1]
        if first in ("[", "{"):
            self._open.append(_Open(path, 0 if first == "[" else None))
            self._at += 1
        else:
            self._take(STRING if first in ('"', "'") else SCALAR)

    def _note(self, path: KeyPath) -> None:
        self._lines.setdefault(path, bisect_left(self._newlines, self._at) + 1)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError("this is no valid TOML document")
        self._at = match.end()
        return match.group()
