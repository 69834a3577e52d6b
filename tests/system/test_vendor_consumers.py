"""Fortanix's own clients use our tokens across refreshes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sdkms.v1

from support.programs import Workplace, emulator, eventually, running

LIFETIME = 6
DURATION = 30.0
SDKMS_CLI = str(Path(sys.executable).with_name("sdkms-cli"))


def list_keys_with_library(token: str, url: str, ca_file: Path) -> object:
    """List keys with the vendor's Python library."""
    configuration = sdkms.v1.configuration.Configuration()
    configuration.host = url
    configuration.ssl_ca_cert = str(ca_file)
    configuration.api_key["Authorization"] = token
    configuration.api_key_prefix["Authorization"] = "Bearer"
    client = sdkms.v1.ApiClient(configuration=configuration)
    return sdkms.v1.SecurityObjectsApi(api_client=client).get_security_objects()


def list_keys_with_command(token_file: Path, url: str, ca_file: Path, home: Path) -> object:
    """List keys with the vendor's command-line client."""
    done = subprocess.run(
        [SDKMS_CLI, "--ssl-ca-cert", str(ca_file), "list-keys"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "SDKMS_CLI_TOKEN_FILE": str(token_file),
            "FORTANIX_API_ENDPOINT": url,
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(90)
def test_the_vendors_clients_live_on_our_tokens(tmp_path: Path) -> None:
    """DSM must never refuse the token of a consumer that reads it before each call."""
    raw, cli, document = (tmp_path / name for name in ("raw.token", "cli.token", "token.json"))
    outputs = "".join(
        f'[[apps.payments.files]]\npath = "{path}"\nformat = "{form}"\n'
        for path, form in ((raw, "raw"), (cli, "sdkms-cli"), (document, "json"))
    )
    with emulator("--tls", "--lifetime", str(LIFETIME)) as dsm:
        assert dsm.ca_file is not None
        workplace = Workplace(tmp_path, dsm)
        workplace.app("payments", outputs)
        config = workplace.write()
        with running("run", "--config", str(config), stderr=tmp_path / "log"):
            for path in (raw, cli, document):
                eventually(path)
            end = time.monotonic() + DURATION
            calls = 0
            while time.monotonic() < end:
                assert list_keys_with_library(raw.read_text(), dsm.url, dsm.ca_file) == []
                list_keys_with_command(cli, dsm.url, dsm.ca_file, tmp_path)
                calls += 2
            refreshes = json.loads(document.read_text())["generation"] - 1
    assert refreshes >= 5
    assert calls >= 20
