"""Where a fault happens: one app, its DSM behind a gate, and its consumers."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.rig.daemon import Daemon, Figures
from faults.rig.fault import Disk, Setting
from faults.rig.gate import Gate
from faults.rig.name_server import NameServer
from faults.rig.readers import Output, Reader, Tally, of_api, of_file, of_socket
from faults.rig.recorder import Record
from faults.rig.timing import LIFETIME
from refresherd.emulator import App, Emulator
from support.dsm_loopback import Authority

OUTPUTS = """
[[apps.{name}.files]]
path = "{file}"
[[apps.{name}.sockets]]
path = "{name}.sock"
"""

TWIN = """
[[apps.{name}.files]]
path = "{file}"
"""


@dataclass(slots=True)
class Scene:
    """An app under test. `directory` holds the daemon's configuration and all outputs."""

    name: str
    setting: Setting
    directory: Path
    daemon: Daemon
    dsm: Emulator
    gate: Gate
    endpoint: str
    proxy: str = field(default="", kw_only=True)
    names: NameServer | None = None
    authority: Authority | None = None
    tally: Tally = field(default_factory=Counter)
    record: Record = field(default_factory=Record)
    remarks: list[str] = field(default_factory=list)
    """What a fault itself found wrong."""

    @property
    def app(self) -> App:
        """The app at DSM."""
        return self.dsm.apps[0]

    @property
    def file(self) -> Path:
        """The token file."""
        return self.home / f"{self.name}.token"

    @property
    def home(self) -> Path:
        """The directory of the token file."""
        own = self.setting.disk is not Disk.SHARED
        return self.directory / f"{self.name}.d" if own else self.directory

    def remove_home(self) -> None:
        """Remove the directory of the token file at once.

        The daemon may be writing there: emptying the directory in place would race with it.
        """
        gone = Path(tempfile.mkdtemp(prefix="gone-", dir=self.directory))
        self.home.rename(gone / self.home.name)
        shutil.rmtree(gone, ignore_errors=True)

    @property
    def twin(self) -> Path:
        """The directory of the second file, if the setting has one."""
        return self.directory / f"{self.name}.twin"

    @property
    def bootstrap(self) -> Path:
        """Where the daemon reads the first token of an app without an API key."""
        return self.directory / f"{self.name}.bootstrap"

    @property
    def session_file(self) -> Path:
        """Where an app without an API key keeps its session."""
        return self.home / "state" / f"{self.name}.session"

    @property
    def socket(self) -> Path:
        """The raw socket."""
        return self.directory / f"{self.name}.sock"

    @property
    def api(self) -> Path:
        """The API's socket."""
        return self.directory / "api.sock"

    @property
    def key_file(self) -> Path:
        """Where the daemon reads the API key or the password."""
        return self.directory / f"{self.name}.key"

    @property
    def ca_file(self) -> Path:
        """Where the daemon reads the CA."""
        return self.directory / f"{self.name}.pem"

    @property
    def figures(self) -> Figures:
        """The app's metrics at the last look."""
        return self.record.figures

    def readers(self) -> list[Reader]:
        """Return a consumer for each output."""
        reads = {
            Output.FILE: of_file(self.file),
            Output.SOCKET: of_socket(self.socket),
            Output.API: of_api(self.api, self.name),
        }
        sessions = self.dsm.sessions
        return [Reader(output, read, self.app, sessions) for output, read in reads.items()]

    def place(self) -> str:
        """Write the app's files, and return its part of the configuration."""
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(self.app.api_key or self.app.secret)
        ca_file = ""
        if self.authority is not None:
            self.trust()
            ca_file = f'ca_file = "{self.ca_file}"\n'
        proxy = f'proxy = "{self.proxy}"\n' if self.proxy else ""
        head = f'[apps.{self.name}]\nendpoint = "{self.endpoint}"\n{proxy}{ca_file}'
        key = self.setting.key.format(
            name=self.name,
            directory=self.directory,
            account=self.dsm.apps.account_id,
            app_id=self.app.id,
        )
        if "cert_file" in key:
            self.certify()
            # The gate ends TLS, so DSM sees no certificate: the UUID alone has to be enough.
            self.app.secret = ""
        if "bootstrap" in key:
            self.bootstrap.touch(mode=0o600)
            self.bootstrap.write_text(self.dsm.sessions.open(self.app).token)
        outputs = OUTPUTS.format(name=self.name, file=self.file)
        if self.setting.twin:
            self.twin.mkdir()
            outputs += TWIN.format(name=self.name, file=self.twin / self.file.name)
        return head + f"{key}\n{self.setting.app}\n" + outputs

    def certify(self, days: int = 30) -> None:
        """Give the daemon a new client certificate, which expires in some days."""
        assert self.authority is not None
        issued = self.authority.issue("client", days)
        for path, suffix in zip(issued, ("crt", "pem"), strict=True):
            path.chmod(0o600)
            path.replace(self.directory / f"{self.name}-client.{suffix}")

    def trust(self) -> None:
        """Put the present CA into the daemon's CA file."""
        assert self.authority is not None
        fresh = self.ca_file.with_suffix(".new")
        fresh.write_bytes(self.authority.ca_file.read_bytes())
        fresh.replace(self.ca_file)

    async def until(self, condition: Callable[[], bool], within: float) -> float | None:
        """Return after how many seconds the condition held, None if it did not in time."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within:
                return None
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    def age(self) -> float:
        """Return the session's age as a share of its lifetime, by the last look."""
        return (time.time() - self.figures.succeeded) / LIFETIME
