"""What the kernel is asked for this process: nobody looks in, and there are descriptors enough."""

import json
import resource
import subprocess
import sys

import pytest

from support.other_users import AS_ROOT

ASK = """
import ctypes, json, os, resource, sys
from refresherd.host import process
user = int(sys.argv[1])
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
process.keep_memory_private()
fd = os.open("/", os.O_PATH)
PR_GET_DUMPABLE = 3
print(json.dumps({
    "dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "owner": os.stat("/proc/self/environ").st_uid,
    "itself": os.readlink(f"/proc/self/fd/{fd}"),
}))
"""

RAISE = """
import resource
from refresherd.host import process
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1000))
process.raise_descriptor_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, for what it does cannot be taken back."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("user", [0, pytest.param(65534, marks=AS_ROOT)])
def test_nobody_reads_the_daemons_memory_but_the_daemon(user: int) -> None:
    """A core file, or a debugger of the same user, would show every token and key.

    The daemon itself still finds its descriptors in /proc, by which it hands over sockets.
    """
    found = json.loads(run(ASK, str(user)))
    assert found == {"dumpable": 0, "core": 0, "owner": 0, "itself": "/"}


def test_the_descriptors_that_the_host_allows_are_taken() -> None:
    """The usual soft limit is for programs that use select(2), and a thousand apps exceed it."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1000
    assert run(RAISE) == "1000\n"
