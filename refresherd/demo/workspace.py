"""The directory in which a demo runs, and the guide to it that a newcomer reads first."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from refresherd.demo.status import plural, span

FORMATS = {"raw": "token", "header": "header", "json": "json", "sdkms-cli": "sdkms-cli"}
"""The formats of each app's token files, with the suffix of the file's name."""

GRACE = 0.25
"""Share of its lifetime for which a replaced token stays valid."""

HEAD = """\
# The configuration of `refresherd demo`. Only DSM is emulated; the rest is as in production.

[dsm]
endpoint = "{endpoint}"
# The emulator has a CA of its own; that of a real DSM is among the system's.
ca_file = "ca.pem"

[refresh]
# How long a replaced token stays valid. It is this short because tokens live only {lifetime} here.
terminate_after = "{terminate_after}"

[http]
# /metrics, /livez and /readyz
listen = ["127.0.0.1:{port}"]

[api]
# curl --unix-socket api.sock http://localhost/v1/apps
path = "api.sock"

[log]
# Readable text, although it goes to a file, which gets lines of JSON by default.
format = "console"
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything is: `ca.pem`, `config.toml`, `daemon.log`, `api.sock`, keys and tokens."""

    directory: Path
    endpoint: str
    """Of the emulated DSM."""
    port: int
    """Of the daemon's HTTP listener on 127.0.0.1."""
    api_keys: dict[str, str]
    """By app."""
    lifetime: float
    """Of tokens, in seconds."""

    def write(self) -> None:
        """Write the configuration and, for each app, a file with its API key."""
        for name, api_key in self.api_keys.items():
            key_file = self.directory / f"{name}.key"
            descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(api_key)
        (self.directory / "config.toml").write_text(self.configuration())

    def configuration(self) -> str:
        """Return the daemon's configuration."""
        text = HEAD.format(
            endpoint=self.endpoint,
            lifetime=duration(self.lifetime),
            terminate_after=duration(self.lifetime * GRACE),
            port=self.port,
        )
        for name in self.api_keys:
            text += f'\n[apps.{name}]\napi_key_file = "{name}.key"\n'
            for form, suffix in FORMATS.items():
                file = f'path = "{name}.{suffix}"\nformat = "{form}"'
                text += f"\n[[apps.{name}.files]]\n{file}\n"
        return text

    def guide(self, width: int | None = None) -> str:
        """Return what a newcomer reads first: where everything is, and commands to try.

        The commands are folded to this width, for None not at all.
        """
        return "\n".join(self._guide_lines(width))

    def _guide_lines(self, width: int | None) -> Iterator[str]:
        yield f"refresherd keeps {plural(len(self.api_keys), 'app')} of an emulated DSM;"
        yield f"each token lives {span(self.lifetime)} and is replaced about half-way."
        yield ""
        yield f"endpoint:      {self.endpoint}"
        yield f"configuration: {self.directory / 'config.toml'}"
        yield f"daemon's log:  {self.directory / 'daemon.log'}"
        for heading, commands in self.commands().items():
            yield from ("", heading)
            for purpose, *parts in commands:
                yield from (f"# {purpose}", *fold(parts, width))

    def commands(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Return the commands to try by heading; each is its purpose, then parts of its line."""
        app = next(iter(self.api_keys))
        ca_file = quote(f"{self.directory}/ca.pem")
        file = {form: quote(f"{self.directory}/{app}.{FORMATS[form]}") for form in FORMATS}
        curl, control = f"curl --cacert {ca_file}", f"{self.endpoint}/control"
        fault = f'{{"app": "{app}", "operation": "reauth", "status": 503, "times": 2}}'
        return {
            "Be a consumer, in another terminal:": (
                (
                    "list keys with the token that the file holds now",
                    *(curl, f"-H @{file['header']}", f"{self.endpoint}/crypto/v1/keys"),
                ),
                (
                    "the same with Fortanix's own client (pip install sdkms-cli)",
                    f"SDKMS_CLI_TOKEN_FILE={file['sdkms-cli']}",
                    f"FORTANIX_API_ENDPOINT={self.endpoint}",
                    f"sdkms-cli --ssl-ca-cert {ca_file}",
                    "list-keys",
                ),
                ("see the token change", f"watch -n1 cat {file['raw']}"),
                (
                    "what Prometheus sees",
                    f"curl -s http://127.0.0.1:{self.port}/metrics",
                    f"| grep 'app=\"{app}\"'",
                ),
            ),
            "Break it, and see it recover:": (
                (
                    f"DSM fails {app} twice: retried, while its consumers have a valid token",
                    *(curl, f"{control}/faults", f"-d '{fault}'"),
                ),
                (
                    "DSM ends every session: tokens are refused until a refresh logs in again",
                    *(curl, f"{control}/sessions/end", "-d '{}'"),
                ),
            ),
        }


def fold(parts: list[str], width: int | None) -> Iterator[str]:
    """Yield a command in lines of this width that a shell joins; for None, in one line."""
    line = f"  {parts[0]}"
    for part in parts[1:]:
        if width is not None and len(line) + len(part) + len("  \\") > width:
            yield f"{line} \\"
            line = f"    {part}"
        else:
            line += f" {part}"
    yield line


def duration(seconds: float) -> str:
    """Return a duration for the configuration, in whole seconds or milliseconds."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
