"""OpenBao Agent with a token in its cache, and the development server that issued it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from typing import Any

from bench import stage
from bench.load import Target, ask, over_http

BAO = "bao"

ROOT_TOKEN = "root"
LOGIN = "/v1/auth/approle/login"

AGENT = """
vault {{ address = "http://127.0.0.1:{port}" }}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "{place}/role_id"
      secret_id_file_path = "{place}/secret_id"
      remove_secret_id_file_after_reading = false
    }}
  }}
  sink "file" {{ config = {{ path = "{place}/token" }} }}
}}
cache {{}}
listener "unix" {{
  address = "{place}/agent.sock"
  tls_disable = true
}}
"""


@contextmanager
def openbao_agent(place: Path) -> Iterator[Target]:
    """Run OpenBao's server and its agent, which answers logins from its cache."""
    bao, home = stage.found(BAO), {"HOME": str(place)}
    assert bao is not None
    port = _free_port()
    server = ("server", "-dev", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token")
    where = f"-dev-listen-address=127.0.0.1:{port}"
    agent = ("agent", f"-config={place}/agent.hcl")
    with stage.program(bao, *server, where, environ=home) as serving:
        stage.eventually(lambda: _healthy(port), serving)
        login = _approle(place, port)
        (place / "agent.hcl").write_text(AGENT.format(port=port, place=place))
        with stage.program(bao, *agent, environ=home) as caching:
            stage.eventually((place / "token").exists, caching)
            target = over_http(place / "agent.sock", "POST", LOGIN, login)
            ask(target)
            if b"X-Cache: HIT" not in ask(target):
                raise RuntimeError("OpenBao Agent does not answer from its cache")
            yield target


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


def _healthy(port: int) -> bool:
    try:
        _call(port, "GET", "sys/health")
    except OSError:
        return False
    return True


def _approle(place: Path, port: int) -> Path:
    """Make a role with credentials, write them to the directory, and return a login's body."""
    _call(port, "POST", "sys/auth/approle", {"type": "approle"})
    _call(port, "POST", "auth/approle/role/bench", {"token_ttl": "1h"})
    role = _call(port, "GET", "auth/approle/role/bench/role-id")["data"]["role_id"]
    secret = _call(port, "POST", "auth/approle/role/bench/secret-id")["data"]["secret_id"]
    (place / "role_id").write_text(role)
    (place / "secret_id").write_text(secret)
    body = place / "login.json"
    body.write_text(json.dumps({"role_id": role, "secret_id": secret}))
    return body


def _call(port: int, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401  # JSON
    connection = HTTPConnection("127.0.0.1", port, timeout=stage.PATIENCE)
    try:
        connection.request(
            method, f"/v1/{path}", json.dumps(content), {"X-Vault-Token": ROOT_TOKEN}
        )
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise ConnectionError(f"{path}: {answer.status} {body.decode()}")
    return json.loads(body or b"null")
