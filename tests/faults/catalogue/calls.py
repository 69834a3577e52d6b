"""Faults of single system calls: strace makes some of them fail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.files import FAILED
from faults.rig.fault import LONG, Fault, Setting
from faults.rig.scene import Scene


@asynccontextmanager
async def _from_the_start(_: Scene) -> AsyncIterator[None]:
    """Do nothing: the calls fail from the daemon's start on."""
    yield


def _failing(call: str, error: str, when: str, logs: str = FAILED) -> Fault:
    # -D: the daemon is the process that was started, not strace's child.
    tracer = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null")
    injected = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    return Fault(
        f"call-{call}",
        f"{call}(2) fails now and then",
        _from_the_start,
        setting=Setting(alone=True, wrapper=(*tracer, *injected)),
        lengths=(LONG,),
        logs=logs,
    )


FAULTS = (
    _failing("fsync", "EIO", "1+3"),
    _failing("renameat", "EIO", "1+2"),
    _failing("fchmod", "EPERM", "2+2"),
    _failing("unlinkat", "EIO", "1+2", logs=""),
)
