"""The daemon's memory is private, and it may open enough descriptors."""

import json
import resource
import signal
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


END = """
import sys, threading, time
from refresherd.host import process
def refuse(_): raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
process.end_after(0.05)
sys.stdin.readline()
"""


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, since its changes cannot be undone."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("user", [0, pytest.param(65534, marks=AS_ROOT)])
def test_only_the_daemon_reads_its_memory(user: int) -> None:
    """A core file, or a debugger of the same user, would show every token and key.

    The daemon itself still finds its descriptors in /proc, by which it hands over sockets.
    """
    found = json.loads(run(ASK, str(user)))
    assert found == {"dumpable": 0, "core": 0, "owner": 0, "itself": "/"}


def test_a_stop_ends_in_time_even_without_a_thread_to_be_had() -> None:
    """Under a limit on threads, the one that bounds a stop may not start."""
    with subprocess.Popen([sys.executable, "-c", END], stdin=subprocess.PIPE) as ending:
        assert ending.wait(20) == -signal.SIGALRM


def test_the_descriptor_limit_is_raised_as_far_as_the_host_allows() -> None:
    """The usual soft limit is for programs that use select(2), and a thousand apps exceed it."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1000
    assert run(RAISE) == "1000\n"
