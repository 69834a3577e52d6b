"""Floods by local users, while a user who may have the token goes on reading it."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from faults.rig.fault import During, Fault, Length, Setting
from faults.rig.scene import Scene
from faults.verdicts.verdict import MEMORY, UNLIMITED
from support.attackers import HABITS, Attacker, attacking
from support.witness import Testimony, Witness, testimony

FLOOD = Length("flood", 4.0, within_budget=True)
"""Seconds around a refresh."""

READER = 1235
"""The user who may have the token."""

LATE_SECONDS = 2.0
"""After which a reader would complain, even on a busy machine."""

READABLE = """\
access = {{ users = ["{user}"] }}
[[apps.{name}.sockets]]
path = "{name}-open.sock"
mode = "0666"
"""

MANY_METRICS = """\
[[apps.{name}.sockets]]
path = "{name}-{number:032}.sock"
"""

FEW_DESCRIPTORS = ("prlimit", "--nofile=1024")

REFUSED = "connection refused"


def _ways(scene: Scene) -> Mapping[str, tuple[str, Witness]]:
    """Return the ways into the daemon: the address of each, and the reader who uses it."""
    token = f"/v1/apps/{scene.name}/token"
    return {
        "api": (str(scene.api), Witness(token, at_once=5, uid=READER)),
        "raw": (str(scene.directory / f"{scene.name}-open.sock"), Witness("", uid=READER)),
        "http": (f"127.0.0.1:{scene.daemon.port}", Witness("/livez", uid=READER)),
    }


def _flood(*crew: tuple[str, Attacker], limited: bool = False) -> During:
    """Return a flood by these attackers, each with a way in, some of whom have to be refused."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        scene.directory.chmod(0o755)  # the suite's own are private
        logged, ways, pid = scene.daemon.log.stat().st_size, _ways(scene), scene.daemon.pid
        idle = _memory(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM starts anew: proc_pid_clear_refs(5)
        with ExitStack() as stack:
            for way, attacker in crew:
                stack.enter_context(attacking(attacker, ways[way][0], FLOOD.seconds + 60))
            asked = {way: stack.enter_context(_asking(*ways[way])) for way in ways}
            yield
            seen = {way: await asyncio.to_thread(testimony, asked[way]) for way in asked}
        most = _memory(pid, "VmHWM")
        if most > 2 * idle:
            scene.remarks.append(f"{MEMORY}: it grew from {idle} to {most} kB")
        scene.remarks += [remark for way, one in seen.items() for remark in _remarks(way, one)]
        if limited and not scene.daemon.logged(REFUSED, since=logged):
            # On a busy machine, one who comes and goes may not come often enough.
            leave = any(HABITS[attacker.habit].leaves for _, attacker in crew)
            scene.remarks.append(f"the log has no {REFUSED!r}" if leave else UNLIMITED)

    return during


@contextmanager
def _asking(address: str, reader: Witness) -> Iterator["subprocess.Popen[str]"]:
    """Let a reader ask as long as the flood lasts."""
    process = reader.begin(address, FLOOD.seconds)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _memory(pid: int, name: str) -> int:
    """Return a line of a process' status, in kB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def _remarks(way: str, seen: Testimony) -> Iterator[str]:
    """Say what a reader missed: of twenty requests one may fail or be late."""
    unanswered, late = seen.asked - seen.answered(), seen.asked - seen.answered(LATE_SECONDS)
    if 20 * unanswered > seen.asked or not seen.asked:
        yield f"{unanswered} of {seen.asked} got no answer at {way}: {sorted(seen.failures)[:2]}"
    elif 20 * late > seen.asked:
        yield f"{late} of {seen.asked} waited for more than {LATE_SECONDS:.0f} s at {way}"


def _fault(
    name: str, breaks: str, during: During, *, metrics: int = 0, wrapper: tuple[str, ...] = ()
) -> Fault:
    """Return a flood of a daemon of its own; `metrics` makes its answers larger."""
    lines = READABLE.format(name=name, user=READER)
    lines += "".join(MANY_METRICS.format(name=name, number=number) for number in range(metrics))
    setting = Setting(alone=True, others=True, wrapper=wrapper, app=lines)
    return Fault(
        name,
        breaks,
        during,
        setting=setting,
        lengths=(FLOOD,),
        blinds_suite=True,
        loads_machine=True,
    )


FAULTS = (
    _fault(
        "flood-connects",
        "a user connects and closes thousands of times a second",
        _flood(*[("api", Attacker("connects"))] * 2, limited=True),
    ),
    _fault(
        "flood-bodies",
        "a user sends compressed bodies and endless ones",
        _flood(
            ("api", Attacker("bombs", 20)),
            ("http", Attacker("bombs", 40)),
            ("api", Attacker("huge-bodies", 10)),
            ("http", Attacker("huge-bodies", 10)),
        ),
    ),
    _fault(
        "flood-scrapes",
        "a user asks for metrics in many formats, and reads none of the answers",
        _flood(("http", Attacker("scrapes", 300)), limited=True),
        metrics=300,
    ),
    _fault(
        "flood-idle",
        "four users make more connections than the daemon has descriptors, and leave them idle",
        _flood(
            *(("api", Attacker("idle", 300, 100_000 + user)) for user in range(2)),
            *(("http", Attacker("idle", 300, 100_002 + user)) for user in range(2)),
            limited=True,
        ),
        wrapper=FEW_DESCRIPTORS,
    ),
)
