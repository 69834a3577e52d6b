"""What starting the daemon imports, and what that must not leave behind."""

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
def test_no_ca_is_read_before_a_trust_asks_for_it(configured: str | None) -> None:
    """Those that aiohttp reads for itself, twice, would cost every daemon 40 ms and 2 MiB.

    Where an operator named other CAs in the environment, they have to be found later on.
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
