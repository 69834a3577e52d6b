"""The scrape job for TLS, on a real Prometheus and a daemon with a web configuration."""

from pathlib import Path

import bcrypt
import pytest

from refresherd.emulator.tls import Authority
from support.monitoring import free_port, prometheus
from support.programs import Workplace, emulator, running

WEB = """\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users:
  prometheus: {}
"""

PASSWORD = "made-up"

pytestmark = pytest.mark.usefixtures("measured_programs")


def test_prometheus_scrapes_with_certificate_and_password(tmp_path: Path) -> None:
    """The job's file names are those that the page on monitoring tells operators to write."""
    authority = Authority(tmp_path)
    authority.server_context(["127.0.0.1"])
    client = authority.issue_client("prometheus")
    client.cert_file.rename(tmp_path / "prometheus.pem")
    client.key_file.rename(tmp_path / "prometheus.key")
    (tmp_path / "refresherd-ca.pem").write_bytes(authority.ca_file.read_bytes())
    (tmp_path / "refresherd.password").write_text(PASSWORD)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4))
    (tmp_path / "web.yml").write_text(WEB.format(hashed.decode()))
    target = f"127.0.0.1:{free_port()}"
    with emulator() as dsm:
        place = Workplace(tmp_path, dsm)
        place.app("payments")
        config = place.write(f'[http]\nlisten = ["{target}"]\nweb_config_file = "web.yml"\n')
        with (
            running("run", "--config", str(config), stderr=tmp_path / "log"),
            prometheus(tmp_path, "scrape-tls.yml", target) as seen,
        ):
            seen.until('up{job="refresherd"} == 1')
            seen.until("refresherd_app_ready == 1")
