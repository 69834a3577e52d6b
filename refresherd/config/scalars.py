"""Strings of the file that mean something: durations, modes, paths and names."""

import os
import re
import signal
from pathlib import Path
from typing import ClassVar, Self

from refresherd.domain.model import UUID

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
LONGEST = 365 * UNITS["d"]
"""Further away than that, calendars and timers overflow; nobody means it."""

NEVER = "never"


class Scalar(str):
    """A string as written; a subclass checks it and keeps its meaning beside it.

    Raises ValueError for a string that means nothing, with a text where there is more
    to say than "this is no `noun`; write `expected`, such as …". Where `pattern` allows
    "", that stands for none.
    """

    __slots__ = ()
    noun: ClassVar[str]
    expected: ClassVar[str]
    pattern: ClassVar[str]
    """Understood alike by Python and by JSON Schema's readers, so without lookaround."""
    stand_in: ClassVar[str] = ""
    """What takes the place of a faulty one without a default, and shows how one is written."""

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for a string that is not of the pattern."""
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError
        return super().__new__(cls, text)


class Duration(Scalar):
    """A span of time; `seconds` is never negative."""

    __slots__ = ("seconds",)
    seconds: float
    noun = "duration"
    expected = "a duration with its unit"
    pattern = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for what is no duration or is longer than a year."""
        self = super().__new__(cls, text)
        self.seconds = float(sum(float(count) * UNITS[unit] for count, unit in PART.findall(text)))
        if self.seconds > LONGEST:
            raise ValueError('longer than a year; write at most "365d"')
        return self


class DurationOrNever(Scalar):
    """A span of time, or never: then `seconds` is None."""

    __slots__ = ("seconds",)
    seconds: float | None
    noun = "duration"
    expected = f'a duration with its unit, or "{NEVER}"'
    pattern = rf"{NEVER}|{Duration.pattern}"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for what is neither."""
        self = super().__new__(cls, text)
        self.seconds = None if text == NEVER else Duration(text).seconds
        return self


class Mode(Scalar):
    """A file mode; `bits` holds permissions only."""

    __slots__ = ("bits",)
    bits: int
    noun = "octal mode"
    expected = "the mode as an octal string"
    pattern = "0?[0-7]{3}"

    def __new__(cls, text: str) -> Self:
        """Raise ValueError for what is no octal mode up to 0777."""
        self = super().__new__(cls, text)
        self.bits = int(text, 8)
        return self


class Location(Scalar):
    """A path, relative to the file's directory, or ""; `path` is absolute."""

    __slots__ = ("path",)
    path: Path
    noun = "path"
    expected = "a path, relative to this file or absolute"
    pattern = r"[^\x00]*"

    def __new__(cls, text: str = "", base: Path = Path("/")) -> Self:
        """Raise ValueError for what would not lead where it seems to."""
        self = super().__new__(cls, text)
        if text.startswith("~"):
            raise ValueError("~ is not expanded here; write the path in full")
        self.path = Path(os.path.normpath(base / text))
        return self

    @property
    def or_none(self) -> Path | None:
        """The path, None for ""."""
        return self.path if self else None


class Argument(Scalar):
    """A word of a command."""

    __slots__ = ()
    noun = "argument"
    expected = "a string that a program can be given"
    pattern = r"[^\x00]*"


class AppId(Scalar):
    """An app's UUID, or ""."""

    __slots__ = ()
    noun = "UUID"
    expected = "the app's UUID as DSM shows it"
    pattern = f"({UUID.pattern})?"


class Variable(Scalar):
    """The name of an environment variable, or ""."""

    __slots__ = ()
    noun = "name of an environment variable"
    expected = "the variable's name, not its value"
    pattern = "([A-Za-z_][A-Za-z0-9_]*)?"


class CredentialName(Scalar):
    """The name of a systemd credential, or ""."""

    __slots__ = ()
    noun = "name of a systemd credential"
    expected = "the name that LoadCredential= gives it"
    pattern = r"([A-Za-z0-9_@:-][A-Za-z0-9_.@:-]*)?"


class Principal(Scalar):
    """A user's or a group's name or number, or ""."""

    __slots__ = ()
    noun = "user or group"
    expected = "a name or a number, as a string"
    pattern = r"[^\x00-\x20\x7f:/]*"


class Unit(Scalar):
    """The full name of a systemd unit."""

    __slots__ = ()
    noun = "unit name"
    expected = "the unit's full name"
    stand_in = "payments.service"
    pattern = r"[A-Za-z0-9:_.@\\-]+\.(service|socket|scope|slice|timer|target|mount|path|swap)"


class Signal(Scalar):
    """The name of a signal, with or without SIG, or ""."""

    __slots__ = ()
    noun = "signal"
    expected = "a signal's name"
    pattern = "((SIG)?[A-Z][A-Z0-9+-]*)?"

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for a name that this system does not know."""
        self = super().__new__(cls, text)
        if text and f"SIG{text.removeprefix('SIG')}" not in signal.Signals.__members__:
            raise ValueError
        return self
