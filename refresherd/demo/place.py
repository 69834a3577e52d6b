"""The directory that a demo lives in: its configuration, keys and token files."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FORMATS = {"raw": "token", "header": "header", "json": "json", "sdkms-cli": "sdkms-cli"}
"""The formats that the demo's consumers read, and what their files' names end in."""

HEAD = """\
# The configuration of `refresherd demo`: an emulated DSM, all else as you would run it.

[dsm]
endpoint = "{endpoint}"
# The emulator made a CA of its own; a real DSM's is among the system's.
ca_file = "{ca_file}"

[refresh]
# A replaced token stays good for this long: not much, as tokens live {lifetime} here.
terminate_after = "{terminate_after}"

[http]
# /metrics, /livez and /readyz
listen = ["{listen}"]

[api]
# curl --unix-socket api.sock http://localhost/v1/apps
path = "api.sock"

[log]
# For people, though it goes to a file: that would be JSON lines by default.
format = "console"
"""

APP = """
[apps.{name}]
api_key_file = "{name}.key"
"""

FILE = """
[[apps.{name}.files]]
path = "{name}.{ending}"
format = "{form}"
"""

GRACE = 0.25
"""Share of its lifetime for which a replaced token stays good."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are. `port` is that of the daemon's HTTP listener on loopback."""

    directory: Path
    endpoint: str
    port: int

    @property
    def ca_file(self) -> Path:
        """The emulator's CA: it writes it there."""
        return self.directory / "ca.pem"

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.directory / "config.toml"

    @property
    def log(self) -> Path:
        """What the daemon logs."""
        return self.directory / "daemon.log"

    @property
    def listen(self) -> str:
        """Where the daemon serves its metrics."""
        return f"127.0.0.1:{self.port}"

    @property
    def metrics(self) -> str:
        """The URL of the daemon's metrics."""
        return f"http://{self.listen}/metrics"

    def file(self, app: str, form: str) -> Path:
        """Return where an app's token stands in that format."""
        return self.directory / f"{app}.{FORMATS[form]}"


def furnish(place: Place, api_keys: Mapping[str, str], lifetime: float) -> None:
    """Write the configuration and each app's API key; `lifetime` of tokens in seconds."""
    for name, api_key in api_keys.items():
        _write_private(place.directory / f"{name}.key", api_key)
    place.config.write_text(configuration(place, api_keys, lifetime))


def configuration(place: Place, apps: Iterable[str], lifetime: float) -> str:
    """Return a configuration that keeps these apps, whose tokens live `lifetime` seconds."""
    head = HEAD.format(
        endpoint=place.endpoint,
        ca_file=place.ca_file.name,
        terminate_after=duration(lifetime * GRACE),
        lifetime=duration(lifetime),
        listen=place.listen,
    )
    return head + "".join(_app(name) for name in apps)


def duration(seconds: float) -> str:
    """Return a time as the configuration has it, in whole seconds or milliseconds."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def _app(name: str) -> str:
    files = [FILE.format(name=name, ending=FORMATS[form], form=form) for form in FORMATS]
    return APP.format(name=name) + "".join(files)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
