"""A directory with an emulator's CA, apps and port, and a configuration of refresherd for them."""

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import msgspec

from refresherd.emulator.apps import App, Kind

if TYPE_CHECKING:
    from refresherd.emulator.emulator import Emulator

STATE: Final = "emulator.json"
CONFIGURATION: Final = "config.toml"

RESERVED: Final = (CONFIGURATION, "ca.pem", "ca.key", "server.pem", "server.key")
"""Files that a new directory must not hold, since the emulator would overwrite them."""

SUFFIXES: Final[dict[Kind, str]] = {"api_key": "api-key", "ldap": "password"}
"""The suffix of the file with an app's credential, other than those of certificates."""

TABLE_NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What refresherd accepts as the name of an app."""

LONGEST_SOCKET: Final = 107
"""Bytes in the path of a Unix socket: unix(7)."""

HEAD: Final = """\
# Written by `refresherd emulator --dir`. It works as it is:
#   refresherd run --config {path}
# Once you have changed it, the emulator leaves it alone.

[dsm]
endpoint = {endpoint}
{ca_file}
[api]
path = {socket}

[http]
# No metrics, in case another daemon serves its own at the usual address, "127.0.0.1:9749".
listen = []
"""


class DirectoryError(Exception):
    """The directory cannot be used; the text says why, and what to do."""


class SavedApp(msgspec.Struct):
    """An app in the file STATE."""

    id: str
    name: str
    kind: Kind
    secret: str


class State(msgspec.Struct):
    """The content of the file STATE."""

    listen: str = ""
    """The address of the last run, `host:port`."""
    tls: bool = False
    account_id: str = ""
    apps: list[SavedApp] = []
    written: dict[str, str] = {}
    """The SHA-256 of what was last written to each file that people may change, by its name."""


class EmulatorDirectory:
    """A directory that belongs to one emulator while the `with` block runs.

    Files that the emulator did not write, or that somebody has changed since, stay as they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.changed: list[str] = []
        """The names of files that somebody has changed, so that they were left alone."""
        self._state = State()
        self._lock = -1

    def __enter__(self) -> Self:
        """Create the directory if it is missing, and read what it holds.

        Raises DirectoryError and OSError.
        """
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            raise DirectoryError("its parent directory does not exist; create that first") from None
        except FileExistsError:
            raise DirectoryError("it is not a directory; name another one") from None
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    @property
    def tls(self) -> bool:
        """Whether the last run used TLS."""
        return self._state.tls

    def listen(self, wanted: str) -> str:
        """Return the address to listen on: that of the last run if any port will do."""
        host, _, port = wanted.rpartition(":")
        if int(port) == 0 and self._state.listen.rpartition(":")[0] == host:
            return self._state.listen
        return wanted

    def restore(self, emulator: "Emulator") -> None:
        """Add the apps of earlier runs."""
        emulator.apps.account_id = self._state.account_id or emulator.apps.account_id
        for app in self._state.apps:
            added = emulator.apps.add(
                app.name,
                certificate=app.kind == "certificate",
                ldap=app.kind == "ldap",
                app_id=app.id,
            )
            added.secret = app.secret

    def publish(self, emulator: "Emulator", listen: str) -> None:
        """Write the configuration and the files that it names, and save each later change of apps.

        `listen` is the address that was requested; the port is the emulator's own. Raises
        DirectoryError and OSError.
        """
        url = urlsplit(emulator.url)
        if url.scheme == "http" and not _is_loopback(url.hostname or ""):
            message = f"refresherd would refuse {emulator.url}: http:// is for loopback hosts only"
            raise DirectoryError(f"{message}; add --tls")
        self._state.tls = url.scheme == "https"
        self._state.listen = f"{listen.rpartition(':')[0]}:{url.port}"
        self._save(emulator)
        text = HEAD.format(
            path=self.path / CONFIGURATION,
            endpoint=_toml(emulator.url),
            ca_file='ca_file = "ca.pem"\n' if self._state.tls else "",
            socket=_toml(self._socket()),
        )
        for app in emulator.apps:
            text += "\n" + "\n".join(self._table(emulator, app)) + "\n"
        self._write(CONFIGURATION, text)
        self._save(emulator)
        emulator.apps.changed = lambda: self._save(emulator)

    def _save(self, emulator: "Emulator") -> None:
        """Write the file STATE with the apps as they are now."""
        self._state.account_id = emulator.apps.account_id
        self._state.apps = [
            SavedApp(app.id, app.name, app.kind, app.secret) for app in emulator.apps
        ]
        content = msgspec.json.format(msgspec.json.encode(self._state), indent=1)
        self._replace(STATE, content)

    def _open(self) -> None:
        if os.fstat(self._lock).st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            cure = f"run chmod o-w {self.path}, or name another directory"
            raise DirectoryError(f"anybody may write to it, so refresherd would refuse it; {cure}")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryError("another emulator uses it; name another directory") from None
        try:
            content = (self.path / STATE).read_bytes()
        except FileNotFoundError:
            for name in RESERVED:
                if os.path.lexists(self.path / name):
                    raise DirectoryError(_foreign(name)) from None
            return
        try:
            self._state = msgspec.json.decode(content, type=State)
        except msgspec.DecodeError as error:
            cure = f"remove {STATE} and {CONFIGURATION} to start anew"
            raise DirectoryError(f"{STATE} is damaged ({error}); {cure}") from None

    def _table(self, emulator: "Emulator", app: App) -> Iterator[str]:
        """Yield the lines of an app in the configuration, and write the files that they name."""
        name = app.name if TABLE_NAME.fullmatch(app.name) else app.id
        key = _toml(name) if "." in name else name
        yield f"[apps.{key}]"
        if app.kind == "certificate":
            files = emulator.client_certificate(app)
            yield f'app_id = "{app.id}"'
            yield f"cert_file = {_toml(files.cert_file.name)}"
            yield f"key_file = {_toml(files.key_file.name)}"
        elif app.kind == "ldap":
            yield f'acct_id = "{emulator.apps.account_id}"'
            yield f"app_name = {_toml(app.name)}"
            yield f"password_file = {_toml(self._credential(name, app))}"
        else:
            yield f"api_key_file = {_toml(self._credential(name, app))}"
        yield f"\n[[apps.{key}.files]]"
        yield f"path = {_toml(f'{name}.token')}"

    def _credential(self, name: str, app: App) -> str:
        """Write an app's credential; return the name of its file."""
        file = f"{name}.{SUFFIXES[app.kind]}"
        self._write(file, app.api_key or app.secret)
        return file

    def _socket(self) -> str:
        """Return the API socket's path, "" if it would be too long."""
        path = self.path / "api.sock"
        return path.name if len(os.fsencode(path)) <= LONGEST_SOCKET else ""

    def _write(self, name: str, text: str) -> None:
        """Write a file that people may change, unless somebody has."""
        content, path = text.encode(), self.path / name
        written = sha256(content).hexdigest()
        if os.path.lexists(path):
            before = self._state.written.get(name)
            is_plain = path.is_file() and not path.is_symlink()
            found = sha256(path.read_bytes()).hexdigest() if is_plain else ""
            # 1. The file has this content already, maybe from a run that was killed.
            if found == written:
                self._state.written[name] = written
                return
            # 2. A file that the emulator did not write, or that somebody has changed since.
            if before is None:
                raise DirectoryError(_foreign(name))
            if found != before:
                self.changed.append(name)
                return
        self._replace(name, content)
        self._state.written[name] = written

    def _replace(self, name: str, content: bytes) -> None:
        """Replace a file, atomically and readable for its owner alone."""
        temporary = self.path / f".{name}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(content)
            temporary.replace(self.path / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _toml(text: str) -> str:
    """Return a string as TOML writes it: as JSON does, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _foreign(name: str) -> str:
    return f"it holds {name}, which no emulator wrote; name another directory, or remove that file"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
