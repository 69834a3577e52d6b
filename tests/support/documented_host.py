"""A directory that stands for the host that the documentation describes, for one test."""

import os
import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from support.documentation import pages
from support.programs import REFRESHERD, Dsm

LOOPBACK = re.compile(r"127\.0\.0\.1:\d+")

CONFIGURATION = """\
[api]
path = "/run/refresherd/api.sock"
[http]
listen = ["127.0.0.1:9749"]
[dsm]
endpoint = "https://amer.smartkey.io"
[apps.payments]
api_key_file = "payments.key"
[[apps.payments.sockets]]
path = "/run/refresherd/payments.sock"
[[apps.payments.files]]
path = "/run/refresherd/payments.token"
[[apps.payments.files]]
path = "/run/refresherd/payments.header"
format = "header"
"""
"""The configuration that the pages about using a token assume."""

ONCE = """\
[dsm]
endpoint = "https://amer.smartkey.io"
[apps.payments]
api_key_file = "payments.key"
[[apps.payments.files]]
path = "/run/refresherd/once.token"
"""


@dataclass(frozen=True, slots=True)
class DocumentedHost:
    """The host. Its DSM is an emulator, and its directories are below the test's directory."""

    directory: Path
    dsm: Dsm
    addresses: dict[str, str]
    """The loopback addresses that the pages name, and free ones that replace them."""

    @classmethod
    def at(cls, directory: Path, dsm: Dsm) -> "DocumentedHost":
        """Lay out a host with a configuration, its key and a directory for tokens."""
        host = cls(directory, dsm, _free_addresses())
        for name in ("home", "bin", "state", "run/refresherd", "credentials"):
            (directory / name).mkdir(parents=True, mode=0o700)
        host.etc.mkdir(parents=True)
        (host.etc / "config.toml").write_text(host.to_host(CONFIGURATION))
        (host.etc / "once.toml").write_text(host.to_host(ONCE))
        write_secret(host.etc / "payments.key", dsm.api_keys[0])
        write_secret(directory / "credentials" / "payments", dsm.api_keys[0])
        return host

    @property
    def etc(self) -> Path:
        """The directory of its configuration."""
        return self.directory / "etc" / "refresherd"

    @property
    def home(self) -> Path:
        """The home directory of its user."""
        return self.directory / "home"

    @property
    def replacements(self) -> dict[str, str]:
        """Names and paths that the pages show, and those of this host."""
        return {
            **self.addresses,
            "https://amer.smartkey.io": self.dsm.url,
            "/run/": f"{self.directory}/run/",
            "/etc/refresherd": str(self.etc),
        }

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of a shell or program on this host."""
        path = (str(Path(REFRESHERD).parent), str(self.directory / "bin"), os.environ["PATH"])
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join(path),
            "REFRESHERD_CONFIG": str(self.etc / "config.toml"),
            "REFRESHERD_SOCKET": f"{self.directory}/run/refresherd/api.sock",
        }

    def to_host(self, text: str) -> str:
        """Return a page's text with the names and paths of this host."""
        for shown, actual in self.replacements.items():
            text = text.replace(shown, actual)
        return text


def write_secret(path: Path, content: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(content)


def _free_addresses() -> dict[str, str]:
    """Return a free address for each that the pages name, because other programs may use those."""
    named = {address for page in pages() for address in LOOPBACK.findall(page.read_text())}
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in named]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        free = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    return dict(zip(sorted(named), free, strict=True))
