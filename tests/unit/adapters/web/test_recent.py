"""What the status page remembers of events: latencies by endpoint, and the last reload."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.web.recent import (
    MAX_ENDPOINTS,
    MAX_FAULTS,
    REMEMBERED,
    Recent,
    Reload,
)
from refresherd.domain import events
from refresherd.domain.errors import Reason
from refresherd.domain.model import Instant, Method
from support.fakes import FakeClock

URL = "https://amer.smartkey.io"
NOW = Instant(1000)


def renewed(duration: float, url: str = URL) -> events.Renewed:
    """Return the event of a renewal."""
    return events.Renewed("payments", url, Method.REAUTH, duration, 1, NOW, NOW, "")


def failed(reason: Reason = Reason.CONNECT, message: str = "refused") -> events.AttemptFailed:
    """Return the event of a failed attempt."""
    return events.AttemptFailed("payments", URL, Method.AUTH, reason, message, 1.0, 1, NOW, "")


@given(st.lists(st.floats(0, 60), min_size=1, max_size=3 * REMEMBERED))
def test_quantiles_are_of_the_latest_requests(durations: list[float]) -> None:
    """A DSM that became slow today must not hide behind a fast month."""
    recent = Recent(FakeClock())
    for duration in durations:
        recent.observe(renewed(duration))
    latest = sorted(durations[-REMEMBERED:])
    quantiles = recent.endpoints[URL].quantiles()
    assert quantiles is not None
    median, p95, slowest = quantiles
    assert latest[0] <= median <= p95 <= slowest == latest[-1]
    assert sum(one > p95 for one in latest) <= len(latest) * 0.05
    assert recent.endpoints[URL].successes == len(durations)


def test_endpoints_are_told_apart() -> None:
    """One DSM of several is slow or down."""
    clock = FakeClock(NOW)
    recent = Recent(clock)
    recent.observe(renewed(0.1))
    recent.observe(renewed(0.3, "https://other.example"))
    clock.advance(5)
    recent.observe(failed())
    assert recent.endpoints["https://other.example"].quantiles() == (0.3, 0.3, 0.3)
    record = recent.endpoints[URL]
    assert (record.successes, record.failures, record.quantiles()) == (1, 1, (0.1, 0.1, 0.1))
    assert record.last_failure is not None
    assert (float(record.last_failure.at), record.last_failure.message) == (1005.0, "refused")


def test_what_never_reached_dsm_is_not_its_failure() -> None:
    """A missing key file is this host's trouble."""
    recent = Recent(FakeClock())
    recent.observe(failed(Reason.CREDENTIAL))
    assert recent.endpoints == {}


def last_reload(recent: Recent) -> Reload:
    """Return the last reload."""
    assert recent.reload is not None
    return recent.reload


def test_a_refused_reload_keeps_all_its_faults_until_one_succeeds() -> None:
    """An operator repairs them all at once, and wants to see that it helped."""
    clock = FakeClock(NOW)
    recent = Recent(clock)
    recent.observe(events.ReloadFailed("line 1"))
    recent.observe(events.ReloadFailed("line 2"))
    assert last_reload(recent).faults == ("line 1", "line 2")
    recent.observe(events.ReloadFailed("line 1"))  # another reload, with the same fault
    assert last_reload(recent).faults == ("line 1",)
    clock.advance(0.3)
    recent.observe(events.ReloadFailed("line 3"))
    assert last_reload(recent).faults == ("line 3",)
    recent.observe(events.Reloaded(clock.now(), started=1, stopped=2, restarted=3, retuned=4))
    assert last_reload(recent) == Reload(Instant(1000.3), changed=10)


def test_the_memory_is_bounded() -> None:
    """Reloads may name ever new endpoints, and a file may have a thousand faults."""
    recent = Recent(FakeClock())
    for number in range(MAX_ENDPOINTS + 5):
        recent.observe(renewed(0.1, f"https://{number}.example"))
        recent.observe(events.ReloadFailed(f"line {number}"))
    assert len(recent.endpoints) == MAX_ENDPOINTS
    assert len(last_reload(recent).faults) == MAX_FAULTS


def test_where_the_daemon_listens_is_remembered() -> None:
    """The page says which configuration is in force."""
    clock = FakeClock(NOW)
    recent = Recent(clock)
    clock.advance(1)
    recent.observe(
        events.Started("1.0", 3, "/etc/refresherd/config.toml", "/run/api.sock", "[::1]:9749")
    )
    recent.observe(events.Stopping("SIGTERM"))
    assert recent.started.config == "/etc/refresherd/config.toml"
    assert recent.started_at == Instant(1001)
