"""Prints which modules one ordinary refresh runs through, in the order of their first call.

    python tests/support/trace_refresh.py

A daemon in this process renews one app's session with an emulator in another process. The app has
one file and one socket, and the API listens. The trace begins just before the refresh is due, and
ends when the file holds the new token and its observers have been told.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))

import refresherd
from refresherd.cli import main
from support.programs import Dsm, emulator

LIFETIME = 6.0
"""Seconds. The session is renewed after half of them."""

MARGIN = 0.3
"""Seconds that the trace begins before the refresh is due, and ends after its token is there."""

PATIENCE = 10.0
"""Seconds within which the first and the second token have to come."""

PACKAGE = Path(refresherd.__file__).parent

CONFIG = """
[dsm]
endpoint = "{dsm.url}"
[refresh]
at = 0.5
jitter = 0.0
[api]
path = "{place}/api.sock"
[http]
listen = []
[apps.traced]
api_key_file = "{place}/traced.key"
[[apps.traced.files]]
path = "{place}/traced.token"
[[apps.traced.sockets]]
path = "{place}/traced.sock"
"""


class Trace:
    """The package's files whose code ran while the trace was on."""

    def __init__(self) -> None:
        self.on = False
        self.files: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call, or the resumption of a coroutine: for `sys.setprofile`."""
        if self.on and event == "call":
            self.files.setdefault(frame.f_code.co_filename)

    def modules(self) -> list[str]:
        """Return the files of the package, relative to it, in the order of their first call."""
        files = map(Path, self.files)
        return [str(file.relative_to(PACKAGE)) for file in files if PACKAGE in file.parents]


def traced_refresh(dsm: Dsm, place: Path) -> list[str]:
    """Return the modules that run during the second token's refresh."""
    key = place / "traced.key"
    key.touch(0o600)
    key.write_text(dsm.api_keys[0])
    config = place / "config.toml"
    config.write_text(CONFIG.format(dsm=dsm, place=place))
    trace, ended = Trace(), threading.Event()

    def control() -> None:
        token = place / "traced.token"
        try:
            first = written_after(token, 0)
            time.sleep(max(0.0, first / 1e9 + LIFETIME / 2 - MARGIN - time.time()))
            trace.on = True
            written_after(token, first)
            time.sleep(MARGIN)
            trace.on = False
        finally:
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    controller = threading.Thread(target=control)
    controller.start()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        status = main(["run", "--config", str(config)])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        ended.set()
        controller.join()
    if status:
        raise SystemExit((place / "log").read_text())
    return trace.modules()


def written_after(path: Path, earlier: int) -> int:
    """Wait until a file is newer than a time; return when it was written, in unix nanoseconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if path.exists() and (written := path.stat().st_mtime_ns) > earlier:
            return written
        time.sleep(0.01)
    raise TimeoutError(f"{path} was not written within {PATIENCE:g} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, emulator("--lifetime", f"{LIFETIME:g}") as dsm:
        log = os.open(Path(name) / "log", os.O_WRONLY | os.O_CREAT)
        stderr = os.dup(2)
        os.dup2(log, 2)
        try:
            modules = traced_refresh(dsm, Path(name))
        finally:
            os.dup2(stderr, 2)
    sys.stdout.write("".join(f"{module}\n" for module in modules))
    sys.stdout.write(f"{len(modules)} files\n")
