"""What of this machine a fault needs, so that one without it can be left out."""

import os
import subprocess
from functools import cache

from faults.fault import Setting
from faults.proxy import program


def missing(setting: Setting) -> str:
    """Return what a setting lacks here, "" for nothing."""
    if setting.proxied and program() is None:
        return "the program haproxy"
    if setting.named and not _has_namespaces():
        return "root, and a mount namespace of its own"
    return ""


@cache
def _has_namespaces() -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0  # noqa: S607  # wherever it is
