"""A consumer who asks while others attack: what it gets, and after how long.

The module is also the consumer's program: `witness.py ADDRESS UID SECONDS AT_ONCE REQUEST`. It
prints what became of each request, and reads a socket without protocol if REQUEST is empty.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

PATIENCE = 10.0
"""Seconds after which a consumer gives up."""

REST = 0.2
"""Seconds between two rounds."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Who asks for what, and how many times at once."""

    request: str
    at_once: int = 1
    uid: int = 1235

    def begin(self, address: str, seconds: float) -> "subprocess.Popen[str]":
        """Start the consumer's process, for `testimony` to read."""
        line = (sys.executable, "-I", "-S", __file__, address, str(self.uid), str(seconds))
        return subprocess.Popen(
            [*line, str(self.at_once), self.request], stdout=subprocess.PIPE, text=True
        )


@dataclass(frozen=True, slots=True)
class Testimony:
    """What became of a consumer's requests: in each round, the seconds that each took.

    A request that failed has its reason in place of the seconds.
    """

    rounds: Sequence[Sequence[float | str]]

    @property
    def asked(self) -> int:
        """How many requests there were."""
        return sum(map(len, self.rounds))

    def answered(self, within: float = PATIENCE) -> int:
        """Return how many requests succeeded within so many seconds."""
        return sum(_answered(one, within) for one in self.rounds)

    def fewest(self, within: float = PATIENCE) -> int:
        """Return how many requests succeeded in the worst round."""
        return min((_answered(one, within) for one in self.rounds), default=0)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest successful request took."""
        return max((it for one in self.rounds for it in one if isinstance(it, float)), default=0.0)

    @property
    def failures(self) -> set[str]:
        """Why requests failed."""
        return {it for one in self.rounds for it in one if isinstance(it, str)}


def _answered(outcomes: Sequence[float | str], within: float) -> int:
    return sum(isinstance(it, float) and it <= within for it in outcomes)


def testimony(process: "subprocess.Popen[str]") -> Testimony:
    """Return what a consumer's process saw, once it has ended."""
    text, _ = process.communicate(timeout=120)
    return Testimony([json.loads(line) for line in text.splitlines()])


def ask(address: str, request: bytes) -> float | str:
    """Send a request; return the seconds until the end of a good answer, or why there is none."""
    began = time.monotonic()
    path = address.startswith("/")
    host, _, port = address.rpartition(":")
    try:
        with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(address if path else (host, int(port)))
            if request:
                connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError as error:
        return repr(error)
    if not answer or (request and b" 200 " not in answer[:16]):
        return answer[:200].decode(errors="replace") or "an empty answer"
    return time.monotonic() - began


def main() -> None:
    """Become the user, and ask in rounds."""
    address, uid, seconds, at_once, target = sys.argv[1:]
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    request = f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode() if target else b""
    until = time.monotonic() + float(seconds)
    with ThreadPoolExecutor(int(at_once)) as threads:
        while time.monotonic() < until:
            asked = [threads.submit(ask, address, request) for _ in range(int(at_once))]
            sys.stdout.write(json.dumps([one.result() for one in asked]) + "\n")
            sys.stdout.flush()
            time.sleep(REST)


if __name__ == "__main__":
    main()
