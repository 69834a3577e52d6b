"""Configurations for tests: judged in memory, or written into a directory with what they need."""

from collections.abc import Mapping
from pathlib import Path

from refresherd.config import Configuration, load
from refresherd.config.credentials import check_credentials
from refresherd.config.loader import build
from refresherd.config.parse import parse_settings
from refresherd.config.rules import check_rules
from refresherd.config.source import read_toml, report
from refresherd.domain.errors import ConfigError
from support.fakes import API_KEY

FILE = Path("/etc/refresherd/config.toml")

ENVIRON: Mapping[str, str] = {"FORTANIX_API_KEY": API_KEY, "PATH": "/usr/bin:/bin"}

DSM = '[dsm]\nendpoint = "https://amer.smartkey.io"\n'

APP = '[apps.payments]\napi_key_env = "FORTANIX_API_KEY"\n'


def judged(text: str, environ: Mapping[str, str] = ENVIRON) -> tuple[str, ...]:
    """Return the faults that show without a look at the machine, without the file's name."""
    settings = parse_settings(read_toml(FILE, text), FILE)
    faults = (*settings.faults, *check_rules(settings), *check_credentials(settings, environ))
    return tuple(line.removeprefix(f"{FILE}:") for line in report(FILE, text, faults))


def built(text: str, environ: Mapping[str, str] = ENVIRON) -> Configuration:
    """Return the configuration in a text without faults, whatever the machine is like."""
    assert judged(text, environ) == ()
    return build(parse_settings(read_toml(FILE, text), FILE), environ, ())


class Place:
    """A directory with a configuration file, and an API key beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "config.toml"
        self.environ = dict(ENVIRON)
        self.write("payments.key", API_KEY)

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Write a file beside the configuration."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def load(self, text: str) -> Configuration:
        """Load a configuration."""
        self.file.write_text(text)
        return load(self.file, self.environ)

    def faults(self, text: str) -> tuple[str, ...]:
        """Return a configuration's faults, without the file's name; none if it loads."""
        try:
            self.load(text)
        except ConfigError as error:
            return tuple(fault.removeprefix(f"{self.file}:") for fault in error.faults)
        return ()
