"""The clients that consumers have: each gets through to the API socket, in all that it can do."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import http_libraries
from support.http_doors import Daemon
from support.http_libraries import SEEN
from support.lab import needs_tool

CLIENTS = Path(http_libraries.__file__).with_name("http_clients")
TOKEN = "http://localhost/v1/apps/payments/token"
REFRESH = "http://localhost/v1/apps/payments/refresh"


@pytest.mark.parametrize(
    "see",
    [
        http_libraries.by_requests,
        http_libraries.by_httpx,
        http_libraries.by_httpx_async,
        http_libraries.by_aiohttp,
    ],
)
def test_the_libraries_of_python_get_through(
    daemon: Daemon, see: Callable[[Path], dict[str, str]]
) -> None:
    """Tokens, refreshes with any body, a watch, errors, and one connection again and again."""
    assert see(daemon.socket) == SEEN


def test_go_gets_through(daemon: Daemon, tmp_path: Path) -> None:
    """With net/http and nothing else."""
    go = needs_tool("go")
    environ = {**os.environ, "GO111MODULE": "off", "GOPROXY": "off", "GOFLAGS": ""}
    program = tmp_path / "client"
    subprocess.run(
        [go, "build", "-o", program, CLIENTS / "client.go"], check=True, env=environ, timeout=110
    )
    assert _seen(str(program), str(daemon.socket)) == SEEN


def test_node_gets_through(daemon: Daemon) -> None:
    """With node:http and nothing else."""
    node = needs_tool("node")
    assert _seen(node, str(CLIENTS / "client.mjs"), str(daemon.socket)) == SEEN


def _seen(*command: str) -> object:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def curl(daemon: Daemon, *arguments: str) -> str:
    """Return what curl prints; it must succeed."""
    command = [needs_tool("curl"), "--silent", "--show-error", "--max-time", "20"]
    socket = ["--unix-socket", str(daemon.socket)]
    done = subprocess.run(
        [*command, *socket, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--http1.0"],
        ["--http1.1"],
        ["--http2"],  # asks for an upgrade, and goes on without
        ["--compressed"],
        ["--no-keepalive"],
        ["--header", "Connection: close"],
        ["--header", "Expect: 100-continue"],
        ["--get", "--data", "min_ttl=10"],
        ["--request-target", TOKEN],  # the absolute form
    ],
    ids=str,
)
def test_curl_gets_a_token(daemon: Daemon, options: list[str]) -> None:
    """The first client that anybody tries."""
    assert json.loads(curl(daemon, *options, TOKEN))["app"] == "payments"


@pytest.mark.parametrize(
    "options",
    [
        ["--request", "POST"],
        ["--data", ""],
        ["--data", "a=b"],
        ["--json", '{"a": "b"}'],
        ["--data", "a=b", "--header", "Transfer-Encoding: chunked"],
        ["--data", "a=b", "--header", "Expect: 100-continue"],
        ["--data", "x" * 8192],
        ["--form", "a=b"],
    ],
    ids=lambda options: " ".join(options)[:40],
)
def test_curl_refreshes_whatever_it_sends(daemon: Daemon, options: list[str]) -> None:
    """No route needs a body, and none is harmful."""
    assert json.loads(curl(daemon, *options, REFRESH))["name"] == "payments"


def test_curl_reads_why_a_large_body_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    """Also where it sends all of it without waiting for the answer."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * 1_000_000)
    for expect in ("Expect:", "Expect: 100-continue"):
        problem = curl(daemon, "--header", expect, "--data-binary", f"@{large}", REFRESH)
        assert json.loads(problem)["status"] == 413


def test_curl_sees_the_head_alone(daemon: Daemon) -> None:
    """Its `--head` would wait for ever for a body that was announced wrongly."""
    head = curl(daemon, "--head", TOKEN)
    assert head.startswith("HTTP/1.1 200 OK")
    assert "access_token" not in head


def test_curl_uses_its_connection_again(daemon: Daemon) -> None:
    """Also after errors, with and without bodies."""
    urls = [TOKEN, "http://localhost/absent", TOKEN, REFRESH, TOKEN]
    arguments = [word for url in urls for word in ("--output", "/dev/null", url)]
    counts = curl(daemon, "--write-out", "%{http_code} %{num_connects}\n", *arguments)
    assert counts.splitlines() == ["200 1", "404 0", "200 0", "405 0", "200 0"]


def test_curl_on_tcp_reads_metrics(daemon: Daemon) -> None:
    """As a person beside Prometheus does, compressed or not."""
    for options in ([], ["--compressed"], ["--http1.0"], ["--http2"]):
        done = subprocess.run(
            [needs_tool("curl"), "--silent", "--max-time", "20", *options,
             f"http://127.0.0.1:{daemon.port}/metrics"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert 'refresherd_app_ready{app="payments"}' in done.stdout
