"""The settings, fields and metrics in the documentation are those of the program."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from grp import getgrgid
from pathlib import Path
from pwd import getpwuid
from secrets import token_urlsafe

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from support.documentation import CHECKOUT, Block, blocks, pages, rows
from support.documented_host import DocumentedHost, write_secret
from support.lab import needs_tool
from support.programs import Dsm, command, emulator, running
from support.scrapes import everything

pytestmark = pytest.mark.usefixtures("measured_programs")

DOCS = CHECKOUT / "docs"

REST = {
    r"endpoint": '\n[dsm]\nendpoint = "https://amer.smartkey.io"\n',
    r"(?:api_key\w+|token_file|app_id|acct_)": '\n[apps.payments]\napi_key_file = "payments.key"\n',
}
"""What makes an excerpt a whole configuration, unless it has such a key."""

SETTINGS = [block for page in pages() for block in blocks(page) if block.language == "toml"]


@pytest.fixture(scope="module")
def dsm() -> Iterator[Dsm]:
    """Run a DSM."""
    with emulator() as running_dsm:
        yield running_dsm


@pytest.fixture
def host(tmp_path: Path, dsm: Dsm) -> DocumentedHost:
    """Return the host that the pages describe."""
    return DocumentedHost.at(tmp_path, dsm)


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.place)
def test_settings_are_accepted(block: Block, host: DocumentedHost) -> None:
    """Readers copy these into their configuration, so `check` must accept them."""
    config = host.etc / "checked.toml"
    config.write_text(host.to_host(whole(block.text)))
    for program in ("systemctl", "pass"):
        (host.directory / "bin" / program).symlink_to("/bin/true")
    write_secret(host.etc / "bootstrap.token", token_urlsafe(64))
    write_secret(host.etc / "payments.password", token_urlsafe(16))
    write_certificate(host.etc / "app.crt", host.etc / "app.pem")
    write_certificate(host.etc / "dsm-ca.pem", host.etc / "dsm-ca.key")
    write_certificate(host.etc / "web.crt", host.etc / "web.key")
    write_secret(host.etc / "web.yml", "tls_server_config: {cert_file: web.crt, key_file: web.key}")
    environ = {
        **host.environ,
        "CREDENTIALS_DIRECTORY": str(host.directory / "credentials"),
        "STATE_DIRECTORY": str(host.directory / "state"),
        "FORTANIX_API_KEY": host.dsm.api_keys[0],
    }
    done = command("check", "--config", str(config), environ=environ)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def whole(text: str) -> str:
    """Complete an excerpt of a configuration, and name accounts that this machine has."""
    for key, rest in REST.items():
        if not re.search(f"^{key}", text, re.MULTILINE):
            text += rest
    user, group = getpwuid(os.getuid()).pw_name, getgrgid(os.getgid()).gr_name
    text = re.sub(r'(owner = |users = \[)"payments"', rf'\1"{user}"', text)
    return re.sub(r'(group = |groups = \[)"payments"', rf'\1"{group}"', text)


def write_certificate(cert_file: Path, key_file: Path) -> None:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payments")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    today = datetime.now(tz=UTC)
    builder = builder.not_valid_before(today).not_valid_after(today + timedelta(days=1))
    cert_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(key_file, plain.decode())


def test_fields_and_metrics_are_listed(host: DocumentedHost) -> None:
    """The tables list everything that the daemon shows, and nothing else."""
    curl = needs_tool("curl")
    with running("run", environ=host.environ, stderr=host.directory / "daemon.log"):
        for arguments in (("wait",), ("refresh", "payments")):
            done = command(*arguments, environ=host.environ)
            assert done.returncode == 0, done.stderr
        token = command("token", "payments", "--format", "json", environ=host.environ).stdout
        status = command("status", "payments", "--json", environ=host.environ).stdout
        scrape = (curl, "--silent", "--fail", host.to_host("http://127.0.0.1:9749/metrics"))
        metrics = subprocess.run(scrape, capture_output=True, text=True, timeout=20, check=True)
        load = (curl, "--silent", "--fail", host.to_host("http://127.0.0.1:9749/status.json"))
        facts = subprocess.run(load, capture_output=True, text=True, timeout=20, check=True)
    fields = [row for row in rows(DOCS / "consumers.md", "Formats") if len(row) == 3]
    assert named(fields) == set(json.loads(token))
    assert named(rows(DOCS / "api.md", "Status")) == set(json.loads(status))
    page = json.loads(facts.stdout)
    assert named(rows(DOCS / "status-page.md", "status.json")) == set(page)
    assert page["apps"] == [json.loads(status) | {"consumers": page["apps"][0]["consumers"]}]
    (about_endpoints,) = (
        row for row in rows(DOCS / "status-page.md", "status.json") if "`endpoints`" in row[0]
    )
    described = set(re.findall("`([a-z0-9_]+)`", about_endpoints[1]))
    assert described - {"app", "error", "at"} == set(page["endpoints"][0])
    documented = {row[0].strip("`") for row in rows(DOCS / "monitoring.md", "Metrics")}
    assert documented == set(re.findall(r"^# TYPE (refresherd_\w+)", metrics.stdout, re.MULTILINE))


def test_metrics_are_described_as_they_describe_themselves() -> None:
    """Somebody who reads a help text in Grafana finds it in the table, with labels and type."""
    scrape = everything()
    exposed = re.findall(r"^# HELP (refresherd_\w+) (.*)\n# TYPE \S+ (\w+)$", scrape, re.MULTILINE)
    found = {name: (kind, labels_of(name, scrape)) for name, _, kind in exposed}
    table = {row[0].strip("`"): row[1:] for row in rows(DOCS / "monitoring.md", "Metrics")}
    assert found == {
        name: (kind, set(re.findall("`([^`]+)`", labels)))
        for name, (kind, labels, _) in table.items()
    }
    for name, text, _ in exposed:
        assert table[name][-1].startswith(text), f"{name}: {text}"


def named(found: list[list[str]]) -> set[str]:
    """Return the names in the first cells of rows."""
    return {name for row in found for name in re.findall("`([^`]+)`", row[0])}


def labels_of(name: str, metrics: str) -> set[str]:
    """Return the labels of a metric's series, without a histogram's `le`."""
    series = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:{{(.*)}})? ", metrics, re.MULTILINE)
    return {label for labels in series for label in re.findall(r'(\w+)="', labels)} - {"le"}
