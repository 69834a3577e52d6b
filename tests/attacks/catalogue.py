"""The floods: which users attack which way in, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from support.attackers import Attacker


class Way(StrEnum):
    """A way into the daemon."""

    API = "api"
    RAW = "raw"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Flood:
    """Attackers that attack together."""

    name: str
    attackers: Sequence[tuple[Way, Attacker]]
    descriptors: int = 0
    """The daemon's limit of open files, 0 for the usual one."""
    apps: int = 0
    """How many more apps the daemon has than usual."""


def _each(habit: str, number: int, *ways: Way) -> tuple[Flood, ...]:
    return tuple(Flood(f"{habit}-{way}", ((way, Attacker(habit, number)),)) for way in ways)


def _users(way: Way, users: int, habit: str = "idle", name: str = "users") -> Flood:
    crew = tuple((way, Attacker(habit, 128, 100_000 + user)) for user in range(users))
    return Flood(f"{name}-{users}-{way}", crew, descriptors=1024)


def _long_answers(name: str, way: Way, habit: str, descriptors: int) -> Flood:
    suffix = f"-{descriptors}" if descriptors else ""
    attackers = ((way, Attacker(habit, 300)),)
    return Flood(f"{name}{suffix}", attackers, descriptors, apps=2000)


EVERY_WAY = tuple(Way)
HTTP_WAYS = (Way.API, Way.HTTP)

FLOODS = (
    *_each("bombs", 80, Way.HTTP),
    *_each("bombs", 20, Way.API),
    *_each("connects", 1, *EVERY_WAY),
    *_each("connects-unbounded", 1, Way.API, Way.RAW),
    *_each("half-requests", 1, *HTTP_WAYS),
    *_each("requests-unanswered", 1, *EVERY_WAY),
    Flood("connects-processes", ((Way.API, Attacker("connects")),) * 4),
    Flood("connects-processes-unbounded", ((Way.API, Attacker("connects-unbounded")),) * 4),
    *(
        Flood(f"{habit}-{way}-1024", ((way, Attacker(habit, 1500)),), descriptors=1024)
        for habit in ("idle", "slow-heads", "half")
        for way in EVERY_WAY
        if way is not Way.RAW or habit == "idle"
    ),
    *(
        flood
        for limit in (0, 1024)
        for flood in (
            _long_answers("scrapes", Way.HTTP, "scrapes", limit),
            _long_answers("unread-statuses", Way.API, "unread", limit),
        )
    ),
    *_each("pipelined", 100, *HTTP_WAYS),
    *_each("slow-readers", 200, Way.API, Way.HTTP),
    *(_users(way, users) for way in EVERY_WAY for users in (4, 16)),
    *(_users(way, 5, "unread", "users-who-ask") for way in HTTP_WAYS),
    *_each("slow-bodies", 300, *HTTP_WAYS),
    *_each("huge-bodies", 20, *HTTP_WAYS),
    *_each("chunks", 20, *HTTP_WAYS),
    *_each("forbidden", 20, Way.API),
    *_each("unknown", 20, *HTTP_WAYS),
    *_each("statuses", 20, Way.API),
    *_each("upgrades", 20, *HTTP_WAYS),
    *_each("nonsense", 20, *EVERY_WAY),
    *(
        Flood(f"{habit}-permitted", ((Way.API, Attacker(habit, number, 1236)),))
        for habit, number in (
            ("watches", 500),
            ("waits", 500),
            ("unreachable-ttl", 20),
            ("refreshes", 20),
        )
    ),
)
