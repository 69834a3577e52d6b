"""What importing the daemon must not do."""

import os
import subprocess
import sys

import pytest

LOOK = """
import gc, os, ssl
import refresherd.daemon.daemon
contexts = [thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLContext)]
print(sum(context.cert_store_stats()["x509"] for context in contexts))
print(os.environ.get("SSL_CERT_FILE"))
"""


@pytest.mark.parametrize("configured", [None, "/etc/pki/ours.pem"])
def test_importing_the_daemon_reads_no_ca_certificates(configured: str | None) -> None:
    """Importing aiohttp alone would read the system's CAs twice, at 40 ms and 2 MiB.

    If an operator named other CAs in the environment, the variable is still there afterwards.
    """
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if configured is not None:
        environ["SSL_CERT_FILE"] = configured
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environ, check=True, capture_output=True, text=True
    )
    certificates, found = done.stdout.splitlines()
    assert certificates == "0"
    assert found == str(configured)
