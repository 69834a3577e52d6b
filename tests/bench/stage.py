"""What benchmarks need: a canned DSM, a directory in memory, a real daemon."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from bench.canned_dsm import ENTITY_ID

Process: TypeAlias = subprocess.Popen[bytes]

API_KEY = b64encode(f"{ENTITY_ID}:{'s' * 64}".encode()).decode()

PATIENCE = 60.0
"""Seconds after which waiting for a process is given up."""

MEMORY = Path("/dev/shm")  # noqa: S108  # what is made in it has a name of its own


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory, on tmpfs if possible: the disk's speed is not to be measured."""
    within = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=within, prefix="refresherd-bench-") as made:
        yield Path(made)


@contextmanager
def canned_dsm(lifetime: int, tls: Path | None = None) -> Iterator[str]:
    """Run a canned DSM in a process of its own and yield its URL.

    Where it is to speak TLS it leaves its CA in the directory `tls`, as `ca.pem`.
    """
    arguments = [str(lifetime)] if tls is None else [str(lifetime), str(tls)]
    program = [sys.executable, "-m", "bench.canned_dsm", *arguments]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with _ended(process):
        yield process.stdout.readline().strip()
        process.communicate(timeout=PATIENCE)


def found(name: str) -> str | None:
    """Return the path of a program, preferring this virtual environment; None if it is missing."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=f"{beside}:{os.environ.get('PATH', os.defpath)}")


@contextmanager
def program(*line: str, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run a program with its output discarded, and stop it by its pid."""
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environ or {})},
    )
    with _ended(process):
        yield process
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def daemon(configuration: Path) -> Iterator[Process]:
    """Run `refresherd run`."""
    line = (sys.executable, "-m", "refresherd", "run", "--config", str(configuration))
    with program(*line) as process:
        yield process


def configuration(
    place: Path, url: str, apps: int, tls: Path | None = None, refresh: str = ""
) -> Path:
    """Write a configuration for so many apps with a file each; return its path.

    The files are in `place / "tokens"`. `tls` is what the canned DSM was given, `refresh` a
    line for the table of that name.
    """
    tokens, key = place / "tokens", place / "api.key"
    tokens.mkdir()
    key.touch(mode=0o600)
    key.write_text(API_KEY)
    ca_file = "" if tls is None else f'ca_file = "{tls}/ca.pem"\n'
    text = [
        f'[api]\npath = "{place}/api.sock"\n[http]\nlisten = ["127.0.0.1:0"]\n',
        '[log]\nformat = "json"\n',
        f'[dsm]\nendpoint = "{url}"\n{ca_file}[refresh]\n{refresh}\n',
    ]
    text += [
        f'[apps.app{number:05}]\napi_key_file = "{key}"\n'
        f'[[apps.app{number:05}.files]]\npath = "{tokens}/app{number:05}.token"\n'
        for number in range(apps)
    ]
    path = place / "config.toml"
    path.write_text("".join(text))
    return path


def await_tokens(place: Path, apps: int, process: Process, pause: float) -> None:
    """Return once so many tokens are in their files; check every `pause` seconds."""
    eventually(lambda: _tokens(place) >= apps, process, pause)


def eventually(holds: Callable[[], bool], process: Process, pause: float = 0.05) -> None:
    """Return once the condition holds; check every `pause` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"what was waited for did not come: {process.args!r}")
        time.sleep(pause)


def _tokens(place: Path) -> int:
    # Temporary files begin with a dot.
    return sum(not entry.name.startswith(".") for entry in (place / "tokens").iterdir())


@contextmanager
def _ended(process: Process | subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        # Only where it has not ended by itself.
        process.kill()
        process.wait()
