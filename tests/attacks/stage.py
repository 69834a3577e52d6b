"""The installed daemon under attack, the consumers who ask meanwhile, and what they saw."""

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from attacks.catalogue import Flood, Way
from faults.rig.ports import unused_port
from support.attackers import attacking
from support.other_users import reachable
from support.programs import REFRESHERD, Workplace, emulator, eventually
from support.witness import Testimony, Witness, testimony

LIFETIME = 10
"""Seconds; a file that is older than this holds an expired token."""

AHEAD = ("nice", "-n", "-10")
"""Runs a program with the priority that refresherd.service has, where that is permitted."""

TOKEN = "/v1/apps/payments/token"

WITNESSES: Mapping[str, tuple[Way, Witness]] = {
    "20 at once": (Way.API, Witness(TOKEN, at_once=20)),
    "one by one": (Way.API, Witness(TOKEN)),
    "root": (Way.API, Witness(TOKEN, uid=0)),
    "raw": (Way.RAW, Witness("")),
    "livez": (Way.HTTP, Witness("/livez")),
}
"""Who asks while the attack lasts, by name."""

OUTPUTS = """
[apps.{name}.access]
users = ["1235", "1236"]
[[apps.{name}.files]]
path = "{name}.token"
mode = "0644"
[[apps.{name}.sockets]]
path = "{name}.sock"
mode = "0666"
"""

APPS = ("payments", "ledger", "orders")

CALM = """
[apps.{name}]
endpoint = "{endpoint}"
api_key_file = "calm.key"
[[apps.{name}.files]]
path = "{name}.token"
"""

HEAD = """
[api]
path = "api.sock"
[http]
listen = ["127.0.0.1:{port}"]
[log]
format = "json"
[refresh]
retry_min = "200ms"
retry_max = "1s"
terminate_after = "1s"
"""


@dataclass(slots=True)
class Watch:
    """What the host shows of the daemon: its memory, and the age of the token files."""

    pid: int
    files: tuple[Path, ...]
    oldest: float = 0.0
    """Seconds: the greatest age of a file."""
    memory: int = 0
    """Bytes: the most memory that the daemon used."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look ten times a second until `stop`."""
        while not self._stop.wait(0.1):
            self.look()

    def look(self) -> None:
        """Take note of what is to be seen now."""
        self.memory = max(self.memory, resident(self.pid))
        now = time.time()
        self.oldest = max(self.oldest, *(now - path.stat().st_mtime for path in self.files))

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()


def resident(pid: int) -> int:
    """Return a process' resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack did to others."""

    flood: str
    witnesses: Mapping[str, Testimony]
    oldest: float
    idle: int
    most: int


@dataclass(frozen=True, slots=True)
class Target:
    """A running daemon."""

    pid: int
    addresses: Mapping[Way, str]
    files: tuple[Path, ...]

    def witnessed(self, seconds: float) -> Mapping[str, Testimony]:
        """Let all consumers ask for so many seconds."""
        processes = {
            name: witness.begin(self.addresses[way], seconds)
            for name, (way, witness) in WITNESSES.items()
        }
        return {name: testimony(process) for name, process in processes.items()}

    def under(self, flood: Flood, seconds: float) -> Outcome:
        """Let a flood happen for so many seconds."""
        idle = resident(self.pid)
        watch = Watch(self.pid, self.files)
        watching = threading.Thread(target=watch.run)
        with ExitStack() as attackers:
            for way, attacker in flood.attackers:
                attackers.enter_context(attacking(attacker, self.addresses[way], seconds + 60))
            watching.start()
            try:
                time.sleep(0.5)
                seen = self.witnessed(seconds)
            finally:
                watch.stop()
                watching.join()
        return Outcome(flood.name, seen, watch.oldest, idle, watch.memory)


@contextmanager
def target(apps: int = 0, descriptors: int = 0) -> Iterator[Target]:
    """Run a daemon until the block ends, warmed up by all its consumers.

    It has so many apps beside its own, whose tokens live long. `descriptors` limits its open
    files.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(reachable())
        dsm = stack.enter_context(emulator(f"--lifetime={LIFETIME}", f"--apps={len(APPS)}"))
        workplace = Workplace(directory, dsm)
        for key, name in enumerate(APPS):
            workplace.app(name, OUTPUTS.format(name=name), key=key)
        names = [f"calm{number}" for number in range(apps)]
        if apps:
            calm = stack.enter_context(emulator("--lifetime=3600"))
            (directory / "calm.key").touch(mode=0o600)
            (directory / "calm.key").write_text(calm.api_keys[0])
            workplace.sections += [CALM.format(name=name, endpoint=calm.url) for name in names]
        port = unused_port()
        config = workplace.write(HEAD.format(port=port))
        limit = ("prlimit", f"--nofile={descriptors}") if descriptors else ()
        process = subprocess.Popen(
            [*AHEAD, *limit, REFRESHERD, "run", "--config", str(config)],
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        found = Target(
            process.pid,
            {
                Way.API: str(directory / "api.sock"),
                Way.RAW: str(directory / "payments.sock"),
                Way.HTTP: f"127.0.0.1:{port}",
            },
            tuple(directory / f"{name}.token" for name in APPS),
        )
        for file in (*found.files, *(directory / f"{name}.token" for name in names)):
            eventually(file)
        found.witnessed(1.0)
        yield found
