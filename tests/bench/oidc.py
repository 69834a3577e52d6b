"""oidc-agent with an account that has a token, and the issuer of that token."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import stage
from bench.load import Target

OIDC_AGENT = "oidc-agent"


@contextmanager
def oidc_agent(place: Path) -> Iterator[Target]:
    """Run oidc-agent with an account at an issuer of this benchmark's own.

    It takes one request a connection, in JSON and without HTTP.
    """
    agent = stage.found(OIDC_AGENT)
    assert agent is not None
    socket = place / "agent.sock"
    (place / ".oidc-agent").mkdir()
    with _issuer() as url, stage.program(agent, "--console", f"--socket-path={socket}") as process:
        stage.eventually(socket.exists, process)
        _account(place, socket, url)
        request = {"request": "access_token", "account": "bench", "min_valid_period": 60}
        yield Target(socket, json.dumps(request).encode(), b'{"status":"success"')


@contextmanager
def _issuer() -> Iterator[str]:
    line = [sys.executable, "-m", "bench.oidc_issuer"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _account(place: Path, socket: Path, url: str) -> None:
    """Load an account that has a refresh token, and so needs no browser, into oidc-agent."""
    generator = stage.found("oidc-gen")
    assert generator is not None
    flow = ("--manual", "--flow=refresh", "--rt=r", "--scope=openid offline_access")
    client = (f"--issuer={url}/", "--client-id=bench", "--client-secret=bench")
    quiet = ("--prompt=none", "--confirm-yes", "--pw-env")
    environ = {"HOME": str(place), "OIDC_SOCK": str(socket), "OIDC_ENCRYPTION_PW": "bench"}
    subprocess.run(
        [generator, "bench", *client, *flow, *quiet],
        check=True,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=stage.PATIENCE,
    )
