"""What a fault needs from this machine."""

import os
import shutil
import subprocess
from functools import cache

from faults.rig.fault import Disk, Setting
from faults.rig.haproxy import program


def missing(setting: Setting) -> str:
    """Return what is missing on this machine for a setting, "" for nothing."""
    if setting.proxied and program() is None:
        return "the program haproxy"
    if (setting.others or setting.disk is not Disk.SHARED) and os.geteuid() != 0:
        return "to run as root"
    wanted = (*setting.wrapper[:1], *(["bindfs"] if setting.disk is Disk.FUSE else []))
    for one in wanted:
        if shutil.which(one) is None:
            return f"the program {one}"
    if setting.named and not _has_namespaces():
        return "root, and a mount namespace of its own"
    return ""


@cache
def _has_namespaces() -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0  # noqa: S607  # wherever it is
