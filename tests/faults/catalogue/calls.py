"""Faults of single calls: every few of them fail, as strace has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.files import FAILED
from faults.rig.fault import LONG, Fault, Setting
from faults.rig.scene import Scene


@asynccontextmanager
async def _as_ever(_: Scene) -> AsyncIterator[None]:
    """Do nothing: calls fail from the daemon's start on."""
    yield


def _failing(call: str, error: str, when: str, tells: str = FAILED) -> Fault:
    # -D: the daemon is the process that was started, not strace's child.
    tracer = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null")
    injected = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    return Fault(
        f"call-{call}",
        f"{call}(2) fails now and then",
        _as_ever,
        setting=Setting(alone=True, wrapper=(*tracer, *injected)),
        lengths=(LONG,),
        tells=tells,
    )


FAULTS = (
    _failing("fsync", "EIO", "1+3"),
    _failing("renameat", "EIO", "1+2"),
    _failing("fchmod", "EPERM", "2+2"),
    _failing("unlinkat", "EIO", "1+2", tells=""),
)
