"""The directory in which a demo runs, and the guide to it that a newcomer reads first."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from refresherd.domain.durations import span
from refresherd.domain.words import count

FORMATS = {"raw": "token", "header": "header", "json": "json", "sdkms-cli": "sdkms-cli"}
"""The formats of each app's token files, with the suffix of the file's name."""

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
# the status page at /, /metrics, /livez and /readyz
listen = ["127.0.0.1:{port}"]

[api]
# curl --unix-socket api.sock http://localhost/v1/apps
path = "api.sock"

[log]
# Readable text, although it goes to a file, which gets lines of JSON by default.
format = "console"
"""

GUIDE = r"""
refresherd keeps {apps} of an emulated DSM;
each token lives {lifetime} and is replaced about half-way.

endpoint:      {endpoint}
status page:   http://127.0.0.1:{port}/
configuration: {directory}/config.toml
daemon's log:  {directory}/daemon.log

Be a consumer, in another terminal:
# list keys with the token that the file holds now
  curl --cacert {ca_file} \
    -H @{file}.header \
    {endpoint}/crypto/v1/keys
# the same with Fortanix's own client (pip install sdkms-cli)
  SDKMS_CLI_TOKEN_FILE={file}.sdkms-cli \
    FORTANIX_API_ENDPOINT={endpoint} \
    sdkms-cli --ssl-ca-cert {ca_file} \
    list-keys
# see the token change
  watch -n1 cat {file}.token
# what Prometheus sees
  curl -s http://127.0.0.1:{port}/metrics \
    | grep 'app="{app}"'

Break it, and see it recover:
# DSM answers {app} with an error twice; refresherd retries while consumers
# still have a valid token
  curl --cacert {ca_file} \
    {endpoint}/control/faults \
    -d '{{"app": "{app}", "operation": "reauth", "status": 503, "times": 2}}'
# DSM ends every session: tokens are refused until a refresh logs in again
  curl --cacert {ca_file} \
    {endpoint}/control/sessions/end \
    -d '{{}}'
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
        """Write the daemon's configuration and, for each app, a file with its API key."""
        text = HEAD.format(
            endpoint=self.endpoint,
            lifetime=duration(self.lifetime),
            terminate_after=duration(self.lifetime / 4),
            port=self.port,
        )
        for name, api_key in self.api_keys.items():
            text += f'\n[apps.{name}]\napi_key_file = "{name}.key"\n'
            for form, suffix in FORMATS.items():
                file = f'path = "{name}.{suffix}"\nformat = "{form}"'
                text += f"\n[[apps.{name}.files]]\n{file}\n"
            path = self.directory / f"{name}.key"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as key_file:
                key_file.write(api_key)
        (self.directory / "config.toml").write_text(text)

    def guide(self, width: int | None = None) -> str:
        """Return what a newcomer reads first: where everything is, and commands to try.

        The commands are folded to this width; None does not fold them.
        """
        app = next(iter(self.api_keys))
        text = GUIDE.format(
            apps=count(len(self.api_keys), "app"),
            lifetime=span(self.lifetime),
            directory=self.directory,
            endpoint=self.endpoint,
            port=self.port,
            app=app,
            ca_file=quote(f"{self.directory}/ca.pem"),
            file=quote(f"{self.directory}/{app}"),
        )
        lines: list[str] = []
        for line in text.strip().splitlines():
            joined = f"{lines[-1][:-1]}{line.lstrip()}" if lines else ""
            fits = width is None or len(joined) <= width
            if fits and joined and lines[-1].endswith("\\"):
                lines[-1] = joined
            else:
                lines.append(line)
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a duration for the configuration, in whole seconds or milliseconds."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
