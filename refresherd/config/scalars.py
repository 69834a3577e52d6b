"""Strings with a meaning: durations, modes, paths and arguments. Names are in `names`."""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from refresherd.domain import durations
from refresherd.domain.credential_formats import app_uuid
from refresherd.domain.redaction import holds_secret
from refresherd.host.directories import LONGEST_NAME

LONGEST = 365 * durations.UNITS["d"]
"""Longer durations overflow timers and dates."""

NEVER = "never"
NEVER_ELSEWHERE = ("", "never", "none", "off", "no", "false", "disabled", "infinity")
"""What other programs call it."""

PASTED = (
    "this looks like the secret itself; put it in a file (chmod 0600) and write that file's path "
    "as api_key_file"
)

VARIABLE = re.compile(r"\$(\w|\{)", re.ASCII)
"""How a path begins that a shell would expand."""

LONGEST_DECIMAL = 4
"""In digits: the largest mode, 0o777, has three."""

LISTED_MODE = re.compile("-?([r-][w-][x-]){3}")
"""A mode as `ls` prints it."""


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
    from_number: ClassVar[bool] = False
    """Whether a number without quotes tells what was meant."""

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
    from_number = True
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
    from_number = True
    expected = "three octal digits in quotes, as for chmod"
    pattern = "0?[0-7]{3}"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the digits of `0o600`, or of the mode that `ls` or `stat` prints.

        TOML reads `0o600` without quotes as 384, and 600 as six hundred: no usual mode in decimal
        consists of 0, 4 and 6 alone.
        """
        text = text.strip()
        if LISTED_MODE.fullmatch(text):
            bits = (f"{digit != '-':d}" for digit in text[-9:])
            return f"{int(''.join(bits), 2):04o}"
        if text.isdecimal() and not text.startswith("0") and set(text) - set("046"):
            as_octal = f"{int(text[:LONGEST_DECIMAL]):o}"
            text = as_octal if len(as_octal) <= 3 else text  # noqa: PLR2004 -- a mode's digits
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
            raise ValueError(PASTED)
        if text.startswith("~"):
            raise ValueError("~ is not expanded; write the full path")
        if VARIABLE.match(text):
            raise ValueError("variables are not expanded; write the full path")
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
