"""What came of a trial, and which promises it broke."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from faults.rig.fault import Fault
from faults.rig.readers import Output, Seen, Tally
from faults.rig.recorder import Look, most_between, most_in_a_window
from faults.rig.timing import REJECTED_RETRY, RETRY_MIN
from support.not_proven import BUSY

if TYPE_CHECKING:
    from faults.rig.scene import Scene

WINDOWS = (1.0, 5.0, 10.0)

STALL_SECONDS = 1.25
"""Seconds from the start of a look to the end of the next one; usually 0.25."""

ALWAYS_POSSIBLE = "connect"
"""A fault that cuts connections may hit a request that is under way."""

TOO_LATE = "session_lost"
"""A session may expire at DSM just when it is to be refreshed."""

TORN = "a torn token was read"
GONE = "the daemon is gone"
BUG = "there is a bug in the log"
MEMORY = "the daemon's memory was not bounded"
UNLIMITED = "nobody was refused a connection"
INEXCUSABLE = (TORN, GONE, BUG, MEMORY, UNLIMITED)
"""These break a promise however busy the machine is."""

MOST_ALIVE = 4
"""The newest session, two in their grace period, and one that DSM did not end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one trial. Without `complaints` the promises were kept."""

    fault: str
    length: str
    within_budget: bool
    seconds: float
    times: int = 1
    refreshes: int = 0
    seen: Tally = field(default_factory=Counter)
    attempts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    arrivals: tuple[float, ...] = ()
    looks: tuple[Look, ...] = ()
    recovery: float | None = None
    complaints: tuple[str, ...] = ()
    spoilt: int = 0
    """How many of the `times` proved nothing."""
    blind: bool = False
    pressure: float = 0.0
    """The share of the trial in which something on the machine waited for a processor or a disk."""

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy for timing to prove anything.

        Either something waited for a processor or a disk much of the time, or the suite itself
        could not look when it wanted to.
        """
        stalled = (b.ended - a.began > STALL_SECONDS for a, b in pairwise(self.looks))
        return self.pressure >= BUSY or (not self.blind and any(stalled))

    @property
    def broken(self) -> bool:
        """Whether a promise was broken. On a busy machine only what no load excuses counts."""
        if not self.busy:
            return bool(self.complaints)
        return any(complaint.startswith(INEXCUSABLE) for complaint in self.complaints)

    @property
    def proven(self) -> bool:
        """Whether the trial shows that the promises were kept or broken."""
        return self.broken or not self.complaints

    def count(self, *kinds: Seen, outputs: tuple[Output, ...] = tuple(Output)) -> int:
        """Return how often consumers saw one of these kinds."""
        return sum(self.seen[output, kind] for output in outputs for kind in kinds)


@dataclass(frozen=True, slots=True)
class Afterwards:
    """What consumers saw after the recovery, and when the fault began."""

    calm: Tally
    since: float
    logged: int


def most_attempts(seconds: float) -> int:
    """Return how many attempts the backoff allows in a window, whatever the jitter.

    Waits are at least `retry_min`, except that a lost session is followed by a login at once.
    Three more allow for the window's edges.
    """
    return int(2 * seconds / RETRY_MIN) + 3


def complaints(
    fault: Fault, scene: "Scene", verdict: Verdict, afterwards: Afterwards
) -> tuple[str, ...]:
    """Return the broken promises, a sentence each."""
    found = {
        TORN: verdict.count(
            Seen.TORN, outputs=tuple(output for output in Output if output not in fault.foreign)
        ),
        "a consumer got no answer": _unanswered(fault, verdict),
        "an expired token was handed out": _expired(fault, verdict),
        "a consumer had no token within the budget": _missing_tokens(fault, verdict),
        "it did not recover in time": verdict.recovery is None,
        "consumers had no good token after the recovery": _bad_reads(afterwards.calm),
        f"failures for other reasons: {dict(verdict.failures)}": not _reasons_expected(
            fault, verdict
        ),
        "attempts were not bounded by the backoff": not _bounded(verdict),
        f"{scene.record.most_alive} sessions alive": scene.record.most_alive > MOST_ALIVE,
        "too many failed logins": not _logins_spaced(scene, afterwards.since),
        GONE: not scene.daemon.alive,
        BUG: len(scene.daemon.bugs(afterwards.logged)),
        "the log does not mention it": not _logged(fault, scene),
    }
    remarks, scene.remarks = scene.remarks, []
    return (*remarks, *(f"{message} ({int(count)})" for message, count in found.items() if count))


def _expired(fault: Fault, verdict: Verdict) -> int:
    """Return how often an expired token was handed out against the rules.

    After the outage budget a file may still hold the expired token. Sockets never hand it out.
    """
    if fault.may_serve_dead_token:
        return 0
    outputs: tuple[Output, ...] = (Output.SOCKET, Output.API)
    if verdict.within_budget or not fault.reasons:
        outputs = tuple(Output)
    may = fault.disrupted if verdict.within_budget else fault.disrupted | fault.stuck
    outputs = tuple(output for output in outputs if output not in may)
    return verdict.count(Seen.EXPIRED, outputs=outputs)


def _unanswered(fault: Fault, verdict: Verdict) -> int:
    outputs = tuple(output for output in Output if output not in fault.disrupted)
    return 0 if fault.may_cut_connections else verdict.count(Seen.ERROR, outputs=outputs)


def _missing_tokens(fault: Fault, verdict: Verdict) -> int:
    if fault.may_lack_token or (fault.reasons and not verdict.within_budget):
        return 0
    outputs = tuple(output for output in Output if output not in fault.disrupted)
    return verdict.count(Seen.NONE, outputs=outputs)


def _bad_reads(calm: Tally) -> int:
    return sum(count for (_, seen), count in calm.items() if seen is not Seen.GOOD)


def _reasons_expected(fault: Fault, verdict: Verdict) -> bool:
    """Return whether attempts failed for the expected reasons, and for no other."""
    failed = {reason for reason, count in verdict.failures.items() if count}
    if not fault.reasons:
        return not failed
    always_possible = {ALWAYS_POSSIBLE} if verdict.within_budget else {ALWAYS_POSSIBLE, TOO_LATE}
    return failed <= fault.reasons | always_possible and bool(
        failed & fault.reasons or fault.may_pass_unnoticed
    )


def _bounded(verdict: Verdict) -> bool:
    return all(
        max(most_in_a_window(verdict.arrivals, window), most_between(verdict.looks, window))
        <= most_attempts(window)
        for window in WINDOWS
    )


def _logins_spaced(scene: "Scene", since: float) -> bool:
    """Return whether refused logins were at least `rejected_retry` apart."""
    refused = sorted(at for at in (*scene.app.failures, *scene.gate.refusals) if at >= since)
    seconds = refused[-1] - refused[0] if refused else 0.0
    return len(refused) <= seconds / REJECTED_RETRY + 2


def _logged(fault: Fault, scene: "Scene") -> bool:
    """Return whether the log mentions the fault; a repeated event appears every 10 minutes only."""
    return not fault.logs or any(
        one.get("app") == scene.name for one in scene.daemon.logged(fault.logs)
    )
