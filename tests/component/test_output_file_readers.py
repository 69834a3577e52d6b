"""What readers see while a token is replaced, and after the writer was killed."""

# The event loop of these tests has nothing else to do while they look at a file.

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.file_writer import WRITER, beside, held, output

REPLACEMENTS = 5000

KILLS = 300

LONGEST_LIVES = (0.02, 0.1, 0.5)
"""The most seconds until a writer is killed: enough for dozens of replacements, or on a busy host,
where a writer waits for its turn, for a few."""

BOUND = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Return the path for a token, on a tmpfs as /run is, where syncs cost nothing."""
    shm = Path("/dev/shm")  # noqa: S108  # what is made there has a name that nobody can guess
    with TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else tmp_path) as directory:
        yield Path(directory) / "payments.token"


class Reader(threading.Thread):
    """Reads a file in a loop, as a polling consumer does."""

    def __init__(self, path: Path, writer: subprocess.Popen[str]) -> None:
        super().__init__()
        self._path = path
        self._writer = writer
        self.generations: list[int] = []
        self.fault = ""

    def run(self) -> None:
        """Record each token until the writer has ended."""
        try:
            while self._writer.poll() is None:
                self.generations.append(held(self._path))
        except (AssertionError, OSError) as error:
            self.fault = repr(error)


def test_readers_always_find_a_whole_token_and_never_an_older_one(path: Path) -> None:
    """Consumers poll without a lock, and half a token or none would be an outage for them."""
    with subprocess.Popen(
        [*WRITER, str(path), "put", f"put:{REPLACEMENTS}"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "done\n"
        readers = [Reader(path, writer) for _ in range(2)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(BOUND)
        assert writer.stdout.readline() == "done\n"
    for reader in readers:
        assert reader.fault == ""
        assert reader.generations == sorted(reader.generations)
        assert len(set(reader.generations)) > 10
    assert held(path) == REPLACEMENTS
    assert beside(path) == []


@pytest.fixture
def breeder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that forks writers; starting each from scratch would take minutes."""
    with subprocess.Popen(
        [*WRITER, "--breed", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


async def test_killed_writers_leave_whole_tokens_and_removable_files(
    path: Path, breeder: subprocess.Popen[str]
) -> None:
    """A kill -9, the OOM killer or a power cut may come at any moment."""
    rng = random.Random(1)  # noqa: S311  # moments, not secrets
    generations = set()
    assert breeder.stdin is not None
    assert breeder.stdout is not None
    for longest_life in LONGEST_LIVES:
        for _ in range(KILLS):
            breeder.stdin.write("\n")
            writer = int(breeder.stdout.readline())
            time.sleep(rng.uniform(0, longest_life))  # noqa: ASYNC251  # as in the header
            os.kill(writer, signal.SIGKILL)
            if path.exists():
                generations.add(held(path))
        if len(generations) > 5 and beside(path):
            break
    assert len(generations) > 5, "the kills came too early to prove anything"
    assert beside(path), "no kill fell into a write"
    await output(path).prepare()
    assert beside(path) == []
    held(path)
