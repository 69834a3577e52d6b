"""Names and ids: of apps, accounts, variables, credentials, users, units and signals."""

import re
import signal

from refresherd.config.findings import nearest
from refresherd.config.scalars import PASTED, Scalar
from refresherd.domain.model import UUID

PASTED_HERE = f"{PASTED} in place of this key"

LONGEST_APP_NAME = 4096
"""In characters: the limit in DSM's API description."""

UNCATCHABLE = ("KILL", "STOP")


class AppId(Scalar):
    """An app's UUID."""

    noun = "UUID"
    if_secret = PASTED_HERE
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
    if_secret = PASTED_HERE
    expected = "the variable's name, not its value"
    pattern = "([A-Za-z_][A-Za-z0-9_]*)?"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the name in `$NAME` or `${NAME}`, or one with the dashes that names lack."""
        return re.sub(r"^\$\{?|\}$", "", text.strip()).replace("-", "_")


class CredentialName(Scalar):
    """The name of a systemd credential, without slashes and without a leading dot."""

    noun = "systemd credential name"
    if_secret = PASTED_HERE
    expected = "the name that LoadCredential= gives to the credential"
    pattern = r"([A-Za-z0-9_@:-][A-Za-z0-9_.@:-]*)?"


class Principal(Scalar):
    """The name or the number of a user or a group."""

    noun = "user or group name"
    from_number = True
    expected = "a name or a number, as a string"
    pattern = r"[^\x00-\x20\x7f:/]*"

    @classmethod
    def guess(cls, text: str) -> str:
        """Return the name or the number without blanks around it."""
        return text.strip()


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
