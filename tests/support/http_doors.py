"""The installed daemon's ways in that speak HTTP: the API socket and the HTTP listener."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.rig.ports import unused_port
from support.http_wire import Address
from support.programs import Workplace, command, emulator, running

HEAD = """
[http]
listen = ["127.0.0.1:{port}"]
[api]
path = "api.sock"
[log]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Door:
    """A listener, with a path of each kind."""

    name: str
    address: Address
    page: str
    """Answers GET with 200, and any other method but HEAD with 405."""
    problem: str
    """The content type of errors."""

    def raw(self, text: bytes) -> bytes:
        """Put the page where a table of requests has PAGE."""
        return text.replace(b"PAGE", self.page.encode())

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon with one app, `payments`, that has a token."""

    socket: Path
    port: int
    log: Path

    @property
    def api(self) -> Door:
        """The API socket."""
        return Door("api", self.socket, "/v1/apps/payments", "application/problem+json")

    @property
    def http(self) -> Door:
        """The HTTP listener."""
        return Door("http", ("127.0.0.1", self.port), "/livez", "")


@contextmanager
def http_daemon() -> Iterator[Daemon]:
    """Run the installed daemon until the block ends."""
    with tempfile.TemporaryDirectory() as name, emulator("--lifetime", "3600") as dsm:
        place = Workplace(Path(name), dsm)
        port, log = unused_port(), place.directory / "log"
        place.app("payments")
        config = place.write(HEAD.format(port=port))
        with running("run", "--config", str(config), stderr=log):
            path = place.directory / "api.sock"
            waited = command("wait", "payments", environ={"REFRESHERD_SOCKET": str(path)})
            assert waited.returncode == 0, waited.stderr + log.read_text()
            yield Daemon(path, port, log)
