"""Strings with a meaning: durations, modes, paths and names."""

import os
import re
import signal
from pathlib import Path
from typing import ClassVar, Self

from refresherd.domain.model import UUID

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
LONGEST = 365 * UNITS["d"]
"""Longer durations overflow timers and dates."""

LONGEST_APP_NAME = 4096
"""In characters: the limit in DSM's API description."""

NEVER = "never"


class Scalar(str):
    """A string as it stands in the file; subclasses add what it means as attributes.

    The constructor raises ValueError for an invalid string. If the error has no text, the fault
    is "this is not a valid `noun`; write `expected`". Where `pattern` matches "", that means "not
    set".
    """

    __slots__ = ()
    noun: ClassVar[str]
    expected: ClassVar[str]
    pattern: ClassVar[str]
    """Read by Python and by JSON Schema validators, so it holds no lookaround."""
    stand_in: ClassVar[str] = ""
    """A valid value that replaces an invalid one in a list, so that checks can go on."""

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for an invalid text."""
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError
        self = super().__new__(cls, text)
        self._interpret()
        return self

    def _interpret(self) -> None:
        """Set what the text means. Raises ValueError for what the pattern cannot exclude."""


class Duration(Scalar):
    """A span of time of at most a year; `seconds` is never negative."""

    __slots__ = ("seconds",)
    seconds: float
    noun = "duration"
    expected = "a duration with a unit"
    pattern = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"

    def _interpret(self) -> None:
        self.seconds = float(sum(float(count) * UNITS[unit] for count, unit in PART.findall(self)))
        if self.seconds > LONGEST:
            raise ValueError('longer than a year; write "365d" or less')


class DurationOrNever(Scalar):
    """A span of time, or "never", for which `seconds` is None."""

    __slots__ = ("seconds",)
    seconds: float | None
    noun = f'duration or "{NEVER}"'
    expected = f'a duration with a unit, or "{NEVER}"'
    pattern = rf"{NEVER}|{Duration.pattern}"

    def _interpret(self) -> None:
        self.seconds = None if self == NEVER else Duration(self).seconds


class Mode(Scalar):
    """An octal file mode; `bits` holds permissions only, no set-id or sticky bits."""

    __slots__ = ("bits",)
    bits: int
    noun = "octal mode"
    expected = "the mode as an octal string"
    pattern = "0?[0-7]{3}"

    def _interpret(self) -> None:
        self.bits = int(self, 8)


class Location(Scalar):
    """A path, relative to the configuration file's directory; `path` is absolute."""

    __slots__ = ("path",)
    path: Path
    noun = "path"
    expected = "a path, relative to this file or absolute"
    pattern = r"[^\x00]*"

    def __new__(cls, text: str = "", base: Path = Path("/")) -> Self:
        """Raise ValueError for a path with a NUL, or one that a shell would have to expand."""
        self = super().__new__(cls, text)
        if text.startswith("~"):
            raise ValueError("~ is not expanded; write the full path")
        self.path = Path(os.path.normpath(base / text))
        return self

    @property
    def or_none(self) -> Path | None:
        """The absolute path, or None for ""."""
        return self.path if self else None


class InputFile(Location):
    """A file that the daemon reads."""


class OutputPath(Location):
    """A file or a socket that the daemon creates."""


class Argument(Scalar):
    """A program or an argument of a command."""

    noun = "argument"
    expected = "a string without NUL characters"
    pattern = r"[^\x00]*"


class AppId(Scalar):
    """An app's UUID."""

    noun = "UUID"
    expected = "the app's UUID, as DSM shows it"
    pattern = f"({UUID.pattern})?"


class AccountId(AppId):
    """An account's UUID."""

    expected = "the account's UUID, as DSM shows it"


class AppName(Scalar):
    """The name of an app in DSM, as the API description limits it."""

    noun = "name of an app in DSM"
    expected = "the app's name on one line, as DSM shows it"
    pattern = r"(.*\S.*)?"

    def _interpret(self) -> None:
        if len(self) > LONGEST_APP_NAME:
            raise ValueError(f"longer than {LONGEST_APP_NAME} characters; DSM knows no such app")


class Variable(Scalar):
    """The name of an environment variable."""

    noun = "environment variable name"
    expected = "the variable's name, not its value"
    pattern = "([A-Za-z_][A-Za-z0-9_]*)?"


class CredentialName(Scalar):
    """The name of a systemd credential, without slashes and without a leading dot."""

    noun = "systemd credential name"
    expected = "the name that LoadCredential= gives to the credential"
    pattern = r"([A-Za-z0-9_@:-][A-Za-z0-9_.@:-]*)?"


class Principal(Scalar):
    """The name or the number of a user or a group."""

    noun = "user or group name"
    expected = "a name or a number, as a string"
    pattern = r"[^\x00-\x20\x7f:/]*"


class Unit(Scalar):
    """The full name of a systemd unit."""

    noun = "unit name"
    expected = "the full name of the unit"
    stand_in = "payments.service"
    pattern = r"[A-Za-z0-9:_.@\\-]+\.(service|socket|scope|slice|timer|target|mount|path|swap)"


class Signal(Scalar):
    """The name of a signal, with or without SIG."""

    noun = "signal"
    expected = "the name of a signal"
    pattern = "((SIG)?[A-Z][A-Z0-9+-]*)?"

    def _interpret(self) -> None:
        if self and f"SIG{self.removeprefix('SIG')}" not in signal.Signals.__members__:
            raise ValueError
