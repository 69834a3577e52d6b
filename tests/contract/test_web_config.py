"""The installed daemon behind a web configuration, as curl and openssl see it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.rig.ports import unused_port
from support.lab import needs_tool
from support.programs import PATIENCE, Workplace, command, emulator, running
from support.web_tls import Authority, hashed

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CLIENTS = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
USERS = f"basic_auth_users:\n  prometheus: {hashed('secret', 10)}\n"

HEAD = """
[http]
listen = ["127.0.0.1:{port}", "[::1]:{port}"]
web_config_file = "web.yml"
[log]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon with one app, and its directory, which has an authority's files."""

    directory: Path
    port: int
    ca: Authority

    @property
    def log(self) -> list[dict[str, object]]:
        """What it has logged so far."""
        lines = (self.directory / "log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def write(self, text: str) -> None:
        """Write the web configuration."""
        (self.directory / "web.yml").write_text(text)

    def logs(self, event: str, number: int = 1) -> dict[str, object]:
        """Return the first line about an event, or the so-manyth, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [line for line in self.log if line["event"] == event]
            if len(found) >= number:
                return found[number - 1]
            time.sleep(0.05)
        raise AssertionError(event, self.log)

    def curl(self, *options: str, path: str = "livez", host: str = "127.0.0.1") -> str:
        """Return what curl prints: the answer, or how it failed."""
        curl = needs_tool("curl")
        url = f"https://{host}:{self.port}/{path}"
        asked = [curl, "--silent", "--show-error", "--globoff", *options, url]
        ran = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        return ran.stdout + ran.stderr

    def handshake(self, *options: str) -> str:
        """Return what openssl tells about a handshake."""
        openssl = needs_tool("openssl")
        address = f"127.0.0.1:{self.port}"
        ca = ("-CAfile", str(self.ca.ca_file))
        ran = subprocess.run(
            [openssl, "s_client", "-connect", address, *ca, *options],
            input="",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return ran.stdout + ran.stderr


@contextmanager
def daemon(directory: Path, web_config: str) -> Iterator[Daemon]:
    """Run the installed daemon; whatever is asked of it, it must log no traceback."""
    ca = Authority(directory)
    ca.issue("server", "localhost", "127.0.0.1", "::1")
    with emulator("--lifetime", "3600") as dsm:
        place = Workplace(directory, dsm)
        place.app("payments")
        served = Daemon(directory, unused_port(), ca)
        served.write(web_config)
        config = place.write(HEAD.format(port=served.port))
        with running("run", "--config", str(config), stderr=directory / "log"):
            environ = {"REFRESHERD_SOCKET": str(directory / "api.sock")}
            waited = command("wait", "payments", environ=environ)
            assert waited.returncode == 0, waited.stderr + (directory / "log").read_text()
            yield served
        text = (directory / "log").read_text()
        assert "Traceback" not in text
        assert "a request failed" not in text
        assert "$2b$" not in text


def trusting(served: Daemon) -> tuple[str, str]:
    """Return curl's option for the authority."""
    return "--cacert", str(served.ca.ca_file)


def test_curl_gets_every_page_over_tls_with_a_password(tmp_path: Path) -> None:
    """By IPv4 and IPv6, with one connection for several requests."""
    with daemon(tmp_path, TLS + USERS) as served:
        ca, user = trusting(served), ("--user", "prometheus:secret")
        for host in ("127.0.0.1", "[::1]"):
            assert served.curl(*ca, *user, host=host) == "ok\n"
        assert "refresherd_build_info" in served.curl(*ca, *user, path="metrics")
        assert "payments" in served.curl(*ca, *user, path="status.json")
        assert "401" in served.curl(*ca, "--write-out", "%{http_code}")
        assert "401" in served.curl(*ca, "--user", "prometheus:x", "--write-out", "%{http_code}")
        assert "certificate" in served.curl()
        told = served.curl(*ca, *user, "--http2", "--write-out", "%{http_version}")
        assert told == "ok\n1.1"
        assert served.log[0]["event"] == "started"


VERSIONS = {
    "prefer_server_cipher_suites: true": {
        "-tls1_1": "",
        "-tls1_2": "TLSv1.2",
        "-tls1_3": "TLSv1.3",
    },
    "min_version: TLS13": {"-tls1_2": "", "-tls1_3": "TLSv1.3"},
    "max_version: TLS12": {"-tls1_2": "TLSv1.2", "-tls1_3": ""},
}
"""What comes of a client's option, for each line of the web configuration."""


def test_openssl_agrees_on_the_versions(tmp_path: Path) -> None:
    """What is too old is refused, whatever the client would accept; a change takes effect."""
    with daemon(tmp_path, TLS) as served:
        for read, (line, expected) in enumerate(VERSIONS.items(), 1):
            served.write(f"{TLS}  {line}\n")
            served.logs("web configuration read", read)
            for option, version in expected.items():
                told = served.handshake(option)
                found = re.search(r"New, (TLSv1\.\d), Cipher is (?!\(NONE\))", told)
                assert (found[1] if found else "") == version, (line, option)


def test_openssl_agrees_on_suites_and_curves(tmp_path: Path) -> None:
    """In the server's order, unless it leaves the choice to the client."""
    suites = (
        "  max_version: TLS12\n  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n"
        "  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n  curve_preferences: [CurveP384]\n"
    )
    other_order = "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    with daemon(tmp_path, TLS + suites) as served:
        told = served.handshake(*other_order)
        assert "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in told
        assert "Server Temp Key: ECDH, secp384r1" in told
        assert "(NONE)" in served.handshake("-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
        assert "(NONE)" in served.handshake("-curves", "X25519")
        assert "no shared cipher" in str(served.logs("handshake failed"))
        served.write(f"{TLS}{suites}  prefer_server_cipher_suites: false\n")
        served.logs("web configuration read")
        assert "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256" in served.handshake(*other_order)


def test_openssl_may_not_renegotiate(tmp_path: Path) -> None:
    """Each renegotiation is a handshake more, and nobody needs one."""
    with daemon(tmp_path, f"{TLS}  max_version: TLS12\n") as served:
        openssl = needs_tool("openssl")
        address = f"127.0.0.1:{served.port}"
        ran = subprocess.run(
            [openssl, "s_client", "-connect", address, "-CAfile", str(served.ca.ca_file)],
            input="R\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "no renegotiation" in ran.stdout + ran.stderr


def test_curl_shows_its_certificate(tmp_path: Path) -> None:
    """The right one is enough; none, or one of somebody else's, is not."""
    with daemon(tmp_path, CLIENTS) as served:
        ca = trusting(served)
        good, bad = served.ca.issue("good"), Authority(tmp_path, "other").issue("bad")
        assert served.curl(*ca, "--cert", str(good.cert), "--key", str(good.key)) == "ok\n"
        for wrong in ((), ("--cert", str(bad.cert), "--key", str(bad.key))):
            assert "ok" not in served.curl(*ca, *wrong)
        assert served.logs("handshake failed")["socket"] == f"127.0.0.1:{served.port}"


def test_a_renewed_certificate_and_a_refused_file_are_visible(tmp_path: Path) -> None:
    """In the log, in the metrics and on the status page, like a reload of the configuration."""
    with daemon(tmp_path, TLS) as served:
        ca = trusting(served)
        gauge = "refresherd_config_last_reload_successful"
        assert f"{gauge} 1.0" in served.curl(*ca, path="metrics")
        served.write(f"{TLS}  min_version: TLS9\n")
        message = str(served.logs("web configuration refused")["message"])
        assert message.startswith(f"{tmp_path}/web.yml:4: tls_server_config.min_version: ")
        assert f"{gauge} 0.0" in served.curl(*ca, path="metrics")
        assert "tls_server_config.min_version" in served.curl(*ca, path="status.json")
        assert "tls_server_config.min_version" in served.curl(*ca, path="")
        served.write(TLS)
        served.ca.issue("server", "localhost", "127.0.0.1")
        served.logs("web configuration read")
        assert f"{gauge} 1.0" in served.curl(*ca, path="metrics")
        assert "tls_server_config.min_version" not in served.curl(*ca, path="status.json")


def test_a_faulty_web_configuration_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    """It must not serve plain pages where passwords were meant."""
    with emulator() as dsm:
        place = Workplace(tmp_path, dsm)
        place.app("payments")
        config = place.write(HEAD.format(port=unused_port()))
        (tmp_path / "web.yml").write_text("basic_auth_user:\n")
        ran = command("run", "--config", str(config))
        assert ran.returncode == 78
        assert f"{tmp_path}/web.yml:1: basic_auth_user: unknown key" in ran.stderr
