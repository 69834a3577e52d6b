"""What the daemon does to its own process: descriptors, memory, orphans, an end in time."""

import gc
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

DESCRIPTORS = 65536
"""Enough open files and sockets for ten thousand apps and their consumers."""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
"""prctl(2); also in linux/prctl.h."""

WNOTHREAD = 0x20000000
"""wait(2): only children of the calling thread."""

INIT = 1
"""The process that has to reap orphans, such as the first one of a container: pid_namespaces(7)."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit on open files as far as the host allows.

    Each app's socket and each client's connection needs a descriptor, and the usual soft limit of
    1024 is for programs that use select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_memory_private() -> None:
    """Disable core dumps, and keep other processes of the same user from reading the memory.

    From here on the process' files in /proc belong to root. The daemon can still read its own:
    the kernel lets a process look at itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if soft:  # otherwise a unit has disabled them already, and may forbid the call
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    prctl()(PR_SET_DUMPABLE, 0)


class _Collector:
    """Python's garbage collector, of which there is one for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0
        self._was_enabled = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the garbage collector from running while the block runs, in any thread.

        The reports of ten thousand apps are enough new objects to start it. It would then look at
        all that the apps have come to hold since it last ran, and hold up the event loop for 0.2 s.
        Use it for work that makes no cycles: that is freed at its end without the collector.
        """
        with self._lock:
            if self._pauses == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if self._pauses == 0 and self._was_enabled:
                    gc.enable()


collector_paused = _Collector().paused


def prctl() -> Callable[[int, int], object]:
    """Return a function that sets an option of this process to a value, by the call of that name.

    It does nothing where the host forbids executable memory: even importing ctypes may fail there.
    """
    with suppress(ImportError, MemoryError, OSError):
        import ctypes  # noqa: PLC0415  # as above

        call = ctypes.CDLL(None).prctl
        return lambda option, value: call(option, value, 0, 0, 0)
    return lambda *_: None


def reap_orphans() -> None:
    """Reap children that have ended, orphans of other processes included.

    Call it in the main thread, which inherits orphans, and only if that starts no programs itself:
    those of other threads keep their exit status, for which these threads wait.
    """
    with suppress(OSError):  # there are no children, or an emulated kernel lacks the option
        while os.waitpid(-1, os.WNOHANG | WNOTHREAD) != (0, 0):
            pass


def end_after(seconds: float) -> None:
    """Exit with status 0 after that many seconds, if the process has not ended by then.

    A thread does it, since the event loop itself may hang in a call to a dead filesystem. If the
    process may have no more threads, the kernel ends it then, by ALRM's default action.
    """
    end = threading.Timer(seconds, os._exit, (os.EX_OK,))
    end.daemon = True
    try:
        end.start()
    except RuntimeError:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
