"""Hostile local users, a process each: they do to a socket what they can, for a bounded time.

The module is also their program, for the standard library alone:
`attackers.py HABIT ADDRESS UID SECONDS NUMBER`. The address is a socket's path or `HOST:PORT`,
and NUMBER is how many connections are kept open at a time.
"""

import errno
import os
import resource
import select
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType

TOKEN = "/v1/apps/payments/token"

SMALL_BUFFER = 2048
"""Bytes that an attacker's socket holds, so that unread answers stay with the daemon."""

BLOCK = b"x" * 65536

REST = 0.00005
"""Seconds between two connections: some 7,000 are made in a second. Without a rest it is up to
100,000, and attackers fill the queue of a socket faster than a busy machine empties it."""

PAUSE = 0.05
"""Seconds between two looks at the connections that wait."""

GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP

READY = "ready\n"
"""What an attacker prints before its first connection."""

MOST = 5_000_000
"""No attacker makes more connections than this."""


def request(target: str, *fields: str, method: str = "GET") -> bytes:
    """Return a request's head."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def post(*fields: str) -> bytes:
    """Return the head of a request that has a body."""
    return request("/v1/apps/payments/refresh?wait=0", *fields, method="POST")


def bomb() -> bytes:
    """Return a request with a megabyte of gzip, which would inflate to a thousand."""
    squeezed = zlib.compressobj(level=9, wbits=31)
    zeros = bytes(1 << 24)
    first = squeezed.compress(zeros) + squeezed.flush(zlib.Z_FULL_FLUSH)
    again = squeezed.compress(zeros) + squeezed.flush(zlib.Z_FULL_FLUSH)
    body = first + again * 63
    fields = ("Content-Encoding: gzip", f"Content-Length: {len(body)}")
    return post("Content-Type: text/plain", *fields) + body


@dataclass(frozen=True, slots=True)
class Habit:
    """What an attacker does with each connection."""

    first: bytes = b""
    """Sent at once."""
    endless: bytes = b""
    """Then sent again and again, as fast as it is taken."""
    dribble: bytes = b""
    """Then sent again and again, a few bytes a second."""
    reads: int = 0
    """Bytes that are read at a time, with a pause after each."""
    insists: bool = False
    """Reads each answer at once, and sends `first` again."""
    leaves: bool = False
    """Closes at once, and connects again."""
    rest: float = 0.0
    """Seconds between two connections of one that leaves."""
    inflates: bool = False
    """Sends a compressed body."""
    differs: bool = False
    """Asks for another representation on each connection."""


HABITS: Mapping[str, Habit] = MappingProxyType(
    {
        "connects": Habit(leaves=True, rest=REST),
        "connects-unbounded": Habit(leaves=True),
        "half-requests": Habit(request(TOKEN)[:-20], leaves=True, rest=REST),
        "requests-unanswered": Habit(request(TOKEN), leaves=True, rest=REST),
        "idle": Habit(),
        "half": Habit(request(TOKEN)[:-2]),
        "slow-heads": Habit(b"GET / HTTP/1.1\r\nX: ", dribble=b"x"),
        "slow-bodies": Habit(post("Content-Length: 100000"), dribble=b"x"),
        "huge-bodies": Habit(post("Content-Length: 99999999999"), endless=BLOCK),
        "chunks": Habit(
            post("Transfer-Encoding: chunked"), endless=b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)
        ),
        "bombs": Habit(inflates=True),
        "scrapes": Habit(differs=True),
        "unread": Habit(request("/v1/apps") * 10),
        "pipelined": Habit(endless=request(TOKEN) * 1000),
        "slow-readers": Habit(request("/v1/apps") * 10, reads=1),
        "watches": Habit(request(f"{TOKEN}?watch=1")),
        "waits": Habit(request(f"{TOKEN}?min_ttl=99999999&wait=300")),
        "forbidden": Habit(request(TOKEN), insists=True),
        "unknown": Habit(request("/v1/apps/nobody/token"), insists=True),
        "unreachable-ttl": Habit(request(f"{TOKEN}?min_ttl=9999999&wait=0"), insists=True),
        "refreshes": Habit(post(), insists=True),
        "long-ttl": Habit(request(f"{TOKEN}?min_ttl=3599.9&wait=0"), insists=True),
        "statuses": Habit(request("/v1/apps"), insists=True),
        "upgrades": Habit(
            request(TOKEN, "Connection: Upgrade", "Upgrade: websocket"), insists=True
        ),
        "nonsense": Habit(b"\x16\x03\x01" * 100, insists=True),
    }
)


@dataclass(frozen=True, slots=True)
class Attacker:
    """A user with a habit, who keeps this many connections open at a time."""

    habit: str
    number: int = 1
    uid: int = 1234


@contextmanager
def attacking(attacker: Attacker, address: str, seconds: float) -> Iterator[None]:
    """Let a user attack an address until the block ends, or for so many seconds at most.

    The block begins once the attack has.
    """
    line = (sys.executable, "-I", "-S", __file__, attacker.habit, address, str(attacker.uid))
    process = subprocess.Popen(
        [*line, str(seconds), str(attacker.number)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == READY
        yield
        assert process.poll() in (None, 0), "the attacker itself failed"
    finally:
        process.kill()
        process.communicate()


@dataclass(slots=True)
class Held:
    """An open connection, and what is still to be sent on it."""

    connection: socket.socket
    left: memoryview


class Attack:
    """An attacker's connections to an address."""

    def __init__(self, habit: Habit, address: str) -> None:
        self._habit = habit
        self._family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
        host, _, port = address.rpartition(":")
        self._address = address if address.startswith("/") else (host, int(port))
        self._made = 0
        self._held: dict[int, Held] = {}
        self._poll = select.poll()
        self._bomb = bomb() if habit.inflates else b""

    def churn(self, until: float) -> None:
        """Connect, send what is to be sent at once, and close, again and again."""
        while time.monotonic() < until and self._made < MOST:
            if connection := self._connected():
                with connection, suppress(OSError):
                    connection.send(self._habit.first)
            if self._habit.rest:  # even a sleep of no length would slow it down
                time.sleep(self._habit.rest)

    def hold(self, number: int, until: float) -> None:
        """Keep so many connections open, and replace those that are closed."""
        slow = self._habit.dribble or self._habit.reads
        while time.monotonic() < until:
            while len(self._held) < number and self._made < MOST and (new := self._connected()):
                self._held[new.fileno()] = Held(new, memoryview(self._opening()))
                self._poll.register(new, self._events(self._held[new.fileno()]))
            for descriptor, event in self._poll.poll(PAUSE * 1000):
                self._step(descriptor, event)
            if slow:
                time.sleep(PAUSE)

    def _connected(self) -> socket.socket | None:
        """Return a new connection, None if there is no place in the queue just now."""
        connection = socket.socket(self._family)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.settimeout(0)
        with suppress(BlockingIOError, ConnectionError, FileNotFoundError):
            if connection.connect_ex(self._address) in (0, errno.EINPROGRESS):
                self._made += 1
                return connection
        connection.close()
        return None

    def _opening(self) -> bytes:
        if self._habit.differs:
            return request("/metrics", f"Accept: text/plain; version=0.0.{self._made}")
        return self._bomb or self._habit.first

    def _events(self, held: Held) -> int:
        sends = held.left or self._habit.endless or self._habit.dribble
        reads = self._habit.insists or self._habit.reads
        return select.POLLRDHUP | (select.POLLOUT if sends else 0) | (select.POLLIN if reads else 0)

    def _step(self, descriptor: int, event: int) -> None:
        """Send and read what the habit asks for; forget a connection that has been closed."""
        held = self._held[descriptor]
        try:
            if event & select.POLLOUT:
                self._send(held)
            going_on = self._received(held) if event & select.POLLIN else not event & GONE
        except ConnectionError:
            going_on = False
        if going_on:
            self._poll.modify(descriptor, self._events(held))
        else:
            self._poll.unregister(descriptor)
            self._held.pop(descriptor).connection.close()

    def _received(self, held: Held) -> bool:
        """Read, and ask again where the habit insists; return False at the end."""
        if self._habit.insists and not held.left:
            held.left = memoryview(self._habit.first)
        return bool(held.connection.recv(self._habit.reads or 1 << 20))

    def _send(self, held: Held) -> None:
        held.left = held.left or memoryview(self._habit.endless or self._habit.dribble)
        with suppress(BlockingIOError):
            held.left = held.left[held.connection.send(held.left) :]


def main() -> None:
    """Become the user, and attack."""
    name, address, uid, seconds, number = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(number) + 64, int(number) + 64))
    os.setgroups([])
    os.setresgid(int(uid), int(uid), int(uid))
    os.setresuid(int(uid), int(uid), int(uid))
    habit = HABITS[name]
    attack = Attack(habit, address)
    sys.stdout.write(READY)
    sys.stdout.flush()
    until = time.monotonic() + float(seconds)
    if habit.leaves:
        attack.churn(until)
    else:
        attack.hold(int(number), until)


if __name__ == "__main__":
    main()
