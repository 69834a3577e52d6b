"""The installed programs as processes: started, read from, and ended by pid."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REFRESHERD = str(Path(sys.executable).with_name("refresherd"))
"""The console script of the environment that runs the tests."""

PATIENCE = 20.0
"""Seconds within which a healthy program does what a test waits for, even on a slow host."""


@dataclass(frozen=True, slots=True)
class Dsm:
    """A running `refresherd emulator`, as its output describes it."""

    url: str
    ca_file: Path | None
    api_keys: tuple[str, ...]


@contextmanager
def emulator(*options: str) -> Iterator[Dsm]:
    """Run `refresherd emulator` until the block ends, and yield what it printed."""
    with running("emulator", *options) as process:
        greeting = []
        assert process.stdout is not None
        for line in process.stdout:
            greeting.append(line)
            if line.startswith("# statistics"):
                break
        text = "".join(greeting)
        ca_file = re.search(r"^ca_file: (\S+)", text, re.MULTILINE)
        yield Dsm(
            url=re.findall(r"^endpoint: (\S+)", text, re.MULTILINE)[0],
            ca_file=None if ca_file is None else Path(ca_file[1]),
            api_keys=tuple(re.findall(r"^api_key: (\S+)", text, re.MULTILINE)),
        )


@contextmanager
def running(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    stderr: Path | None = None,
    directory: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run `refresherd ARGUMENTS…` until the block ends, then stop it with SIGTERM."""
    with (stderr or Path(os.devnull)).open("ab") as log:
        process = subprocess.Popen(
            [REFRESHERD, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(environ or {})},
            cwd=directory,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.communicate()


def command(
    *arguments: str, environ: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run `refresherd ARGUMENTS…` to its end."""
    return subprocess.run(
        [REFRESHERD, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={**os.environ, **(environ or {})},
    )


def eventually(path: Path) -> str:
    """Return the content of a file as soon as it exists."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never created"
        time.sleep(0.02)
    return path.read_text()


@dataclass
class Workplace:
    """A directory with a configuration and its keys, for one daemon."""

    directory: Path
    dsm: Dsm
    sections: list[str] = field(default_factory=list)

    def app(self, name: str, body: str = "", *, key: int = 0) -> None:
        """Configure an app with one of the emulator's API keys."""
        key_file = self.directory / f"{name}.key"
        key_file.touch(mode=0o600)
        key_file.write_text(self.dsm.api_keys[key])
        self.sections.append(f'[apps.{name}]\napi_key_file = "{key_file.name}"\n{body}')

    def write(self, head: str = "") -> Path:
        """Write the configuration and return its path. The HTTP listener is off.

        The API's socket is `api.sock` beside it, unless `head` has an [api] of its own.
        """
        ca_file = "" if self.dsm.ca_file is None else f'ca_file = "{self.dsm.ca_file}"\n'
        path = self.directory / "config.toml"
        dsm = f'[dsm]\nendpoint = "{self.dsm.url}"\n{ca_file}'
        api = "" if "[api]" in head else '[api]\npath = "api.sock"\n'
        path.write_text("\n".join([head or "[http]\nlisten = []\n", api, dsm, *self.sections]))
        return path
