"""Strings with a meaning: durations, modes, paths and names."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from refresherd.config.findings import nearest
from refresherd.domain import durations
from refresherd.domain.credential_formats import app_uuid
from refresherd.domain.model import UUID
from refresherd.domain.redaction import holds_secret
from refresherd.host.directories import LONGEST_NAME

LONGEST = 365 * durations.UNITS["d"]
"""Longer durations overflow timers and dates."""

LONGEST_APP_NAME = 4096
"""In characters: the limit in DSM's API description."""

NEVER = "never"
NEVER_ELSEWHERE = ("", "never", "none", "off", "no", "false", "disabled", "infinity")
"""What other programs call it."""

PASTED_FOR_PATH = (
    "this looks like the secret itself; put it in a file (chmod 0600) and write that file's path "
    "as api_key_file"
)
PASTED = f"{PASTED_FOR_PATH} in place of this key"

LISTED_MODE = re.compile("-?([r-][w-][x-]){3}")
"""A mode as `ls` prints it."""

UNCATCHABLE = ("KILL", "STOP")


class Scalar(str):
    """A string as it stands in the file; subclasses add what it means as attributes.

    The constructor raises ValueError for an invalid string. If the error has no text, the fault is
    "not a valid `noun`; write `expected`", with the `suggestion`. Where `pattern` matches "",
    that means "not set".
    """

    __slots__ = ()
    noun: ClassVar[str]
    expected: ClassVar[str]
    pattern: ClassVar[str]
    """Read by Python and by JSON Schema validators, so it holds no lookaround."""
    if_secret: ClassVar[str] = ""
    """The fault of a text that looks like a secret; "" if that is no different from others."""
    stand_in: ClassVar[str] = ""
    """A valid value that replaces an invalid one in a list, so that checks can go on."""

    def __new__(cls, text: str = "") -> Self:
        """Raise ValueError for an invalid text."""
        if cls.if_secret and holds_secret(text):
            raise ValueError(cls.if_secret)
        if re.fullmatch(cls.pattern, text) is None:
            raise ValueError
        self = super().__new__(cls, text)
        self._interpret()
        return self

    @classmethod
    def suggestion(cls, text: str) -> str:
        """Return the valid text that an invalid one probably means, "" if there is none."""
        with suppress(ValueError):
            return cls(cls.guess(text))
        return ""

    @classmethod
    def guess(cls, _: str) -> str:
        """Return what an invalid text probably means; it need not be valid."""
        return ""

    def _interpret(self) -> None:
        """Set what the text means. Raises ValueError for what the pattern cannot exclude."""


class Duration(Scalar):
    """A span of time of at most a year; `seconds` is never negative."""

    __slots__ = ("seconds",)
    seconds: float
    noun = "duration"
    expected = durations.SYNTAX
    pattern = durations.PATTERN

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the duration in our units and their order."""
        return durations.guess(text)

    def _interpret(self) -> None:
        self.seconds = durations.parse(self)
        if self.seconds > LONGEST:
            raise ValueError('longer than a year; write "365d" or less')


class DurationOrNever(Scalar):
    """A span of time, or "never", for which `seconds` is None."""

    __slots__ = ("seconds",)
    seconds: float | None
    noun = f'duration or "{NEVER}"'
    expected = f'{durations.SYNTAX}, or "{NEVER}"'
    pattern = rf"{NEVER}|{Duration.pattern}"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the duration, or "never" for what other programs call it."""
        never = text.strip().lower() in NEVER_ELSEWHERE
        return NEVER if never else Duration.guess(text)

    def _interpret(self) -> None:
        self.seconds = None if self == NEVER else Duration(self).seconds


class Mode(Scalar):
    """An octal file mode; `bits` holds permissions only, no set-id or sticky bits."""

    __slots__ = ("bits",)
    bits: int
    noun = "octal mode"
    expected = "three octal digits in quotes, as for chmod"
    pattern = "0?[0-7]{3}"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the digits of `0o600`, or of the mode that `ls` or `stat` prints."""
        text = text.strip()
        if LISTED_MODE.fullmatch(text):
            bits = (f"{digit != '-':d}" for digit in text[-9:])
            return f"{int(''.join(bits), 2):04o}"
        digits = text.lower().removeprefix("0o").lstrip("0").zfill(3)
        return f"0{digits}"

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
        """Raise ValueError for a path that no host has, one with ~, and an API key."""
        self = super().__new__(cls, text)
        if any(map(app_uuid, text.split("/"))):
            raise ValueError(PASTED_FOR_PATH)
        if text.startswith("~"):
            raise ValueError("~ is not expanded; write the full path")
        self.path = Path(os.path.normpath(base / text))
        longest = max((len(os.fsencode(name)) for name in self.path.parts), default=0)
        if longest > LONGEST_NAME:
            raise ValueError(
                f"a name in this path has {longest} bytes, and may have at most {LONGEST_NAME}; "
                "shorten it"
            )
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
    expected = "a string in quotes, without NUL characters"
    pattern = r"[^\x00]*"


class AppId(Scalar):
    """An app's UUID."""

    noun = "UUID"
    if_secret = PASTED
    expected = "the app's UUID, as DSM shows it"
    pattern = f"({UUID.pattern})?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the UUID in a text with nothing else but brackets, `urn:uuid:` and blanks."""
        found = re.fullmatch(
            rf"[\s{{(<]*(?:urn:uuid:)?({UUID.pattern})[\s}})>]*", text, re.IGNORECASE
        )
        return found[1] if found else ""


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
    if_secret = PASTED
    expected = "the variable's name, not its value"
    pattern = "([A-Za-z_][A-Za-z0-9_]*)?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the name in `$NAME` or `${NAME}`, or one with the dashes that names lack."""
        return re.sub(r"^\$\{?|\}$", "", text.strip()).replace("-", "_")


class CredentialName(Scalar):
    """The name of a systemd credential, without slashes and without a leading dot."""

    noun = "systemd credential name"
    if_secret = PASTED
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

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the service of this name, as `systemctl` understands it."""
        name = text.strip()
        return name if re.fullmatch(cls.pattern, name) else f"{name}.service"


class Signal(Scalar):
    """The name of a signal, with or without SIG."""

    noun = "signal"
    expected = "the name of a signal"
    pattern = "((SIG)?[A-Z][A-Z0-9+-]*)?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the signal of this number, or the nearest name in the right spelling."""
        name = text.strip().upper().removeprefix("SIG")
        numbers = {one.name[3:]: str(one.value) for one in signal.Signals}
        names = tuple(known for known in sorted(numbers) if known not in UNCATCHABLE)
        if name.isdecimal():
            return next((known for known in names if numbers[known] == name), "")
        return nearest(name, names) if name not in {"", *UNCATCHABLE} else ""

    def _interpret(self) -> None:
        name = self.removeprefix("SIG")
        if self and f"SIG{name}" not in signal.Signals.__members__:
            raise ValueError
        if name in UNCATCHABLE:
            raise ValueError(
                f'no process can handle {self}; write one that it handles, such as "HUP"'
            )
