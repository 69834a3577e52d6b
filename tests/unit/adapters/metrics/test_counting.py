"""What is counted: each event moves the series it should, and no other."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from refresherd.adapters.metrics import Exposition, Metrics
from refresherd.domain.errors import Reason
from refresherd.domain.events import (
    AcceptFailed,
    AccessDenied,
    AppCrashed,
    AttemptBegan,
    AttemptFailed,
    ClockJumped,
    ConnectionRejected,
    CredentialChanged,
    Ending,
    EntityMismatch,
    Event,
    HookRan,
    HookResult,
    Jump,
    LoopLagged,
    OutputFailed,
    OutputRemoved,
    OutputWritten,
    ReloadFailed,
    Renewed,
    SessionChecked,
    SessionEnded,
    Started,
    Stopping,
    TokenExpired,
    Warned,
)
from refresherd.domain.model import ApiKeyFile, App, Endpoint, FileSpec, Instant, Method
from refresherd.domain.readiness import AppStatus
from support.fakes import FakeClock

URL = "https://amer.smartkey.io"
PATH = "/run/payments.token"
NOW = Instant(1000)
PAYMENTS = App(
    "payments", Endpoint(URL), ApiKeyFile(Path("/etc/key")), files=(FileSpec(Path(PATH)),)
)

Series = dict[str, float]


class NoApps:
    """A roster before the supervisor has begun."""

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return nothing."""
        return ()

    def status(self, name: str) -> AppStatus | None:
        """Return nothing."""
        raise AssertionError(name)


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics of one app."""
    metrics = Metrics(NOW)
    metrics.add_app(PAYMENTS)
    return metrics


def scrape(metrics: Metrics) -> Series:
    """Return every series of refresherd's own by its name and labels, as Prometheus reads them."""
    _, pieces = Exposition(metrics, NoApps(), FakeClock(NOW)).render("")
    families = text_string_to_metric_families(b"".join(pieces).decode())
    return {
        sample.name.removeprefix("refresherd_")
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("refresherd_")
    }


def moved(metrics: Metrics, *events: Event) -> Series:
    """Return what the events add to the series that they change."""
    before = scrape(metrics)
    for event in events:
        metrics.observe(event)
    return {
        name: value - before[name]
        for name, value in scrape(metrics).items()
        if value != before[name]
    }


def failure(method: Method = Method.AUTH, reason: Reason = Reason.CONNECT) -> AttemptFailed:
    """Return a failure after 2 s."""
    return AttemptFailed(
        "payments", URL, method, reason, "refused", 2.0, 1, Instant(1030), request_id=""
    )


def renewal(duration: float = 0.02) -> Renewed:
    """Return a reauth that succeeded."""
    return Renewed(
        "payments", URL, Method.REAUTH, duration, 2, Instant(1600), Instant(1300), request_id=""
    )


def without_buckets(series: Series) -> Series:
    """Leave out a histogram's buckets."""
    return {name: value for name, value in series.items() if "_bucket" not in name}


@pytest.mark.parametrize("method", Method)
def test_an_attempt_is_counted_by_its_method_with_its_delay(
    metrics: Metrics, method: Method
) -> None:
    """The rate of attempts shows a retry loop; their delay shows an overloaded daemon."""
    assert without_buckets(moved(metrics, AttemptBegan("payments", method, 0.25))) == {
        f"refresh_attempts_total app=payments method={method}": 1,
        "refresh_delay_seconds_count": 1,
        "refresh_delay_seconds_sum": 0.25,
    }


def test_a_renewal_is_counted_by_how_long_it_took(metrics: Metrics) -> None:
    """A DSM that gets slower is seen before it times out."""
    labels = f"endpoint={URL} method=reauth"
    assert without_buckets(moved(metrics, renewal(0.25))) == {
        f"refresh_duration_seconds_count {labels}": 1,
        f"refresh_duration_seconds_sum {labels}": 0.25,
    }


def test_buckets_are_cumulative_and_include_their_bound(metrics: Metrics) -> None:
    """Prometheus works out quantiles from buckets whose `le` means less or equal."""
    series = moved(metrics, renewal(0.005), renewal(0.006), renewal(3600.0))
    bucket = f"refresh_duration_seconds_bucket endpoint={URL} le=%s method=reauth"
    assert [series[bucket % bound] for bound in ("0.005", "0.01", "20.0", "+Inf")] == [1, 2, 2, 3]


def test_a_check_is_timed_as_a_keepalive(metrics: Metrics) -> None:
    """It is the same request to DSM."""
    series = moved(metrics, SessionChecked("payments", URL, 0.25))
    assert series[f"refresh_duration_seconds_sum endpoint={URL} method=keepalive"] == 0.25


@pytest.mark.parametrize("reason", set(Reason) - {Reason.CREDENTIAL})
@pytest.mark.parametrize("method", Method)
def test_a_failure_is_counted_by_method_and_reason_and_timed(
    metrics: Metrics, method: Method, reason: Reason
) -> None:
    """An alert must tell a refused key from a network that is down."""
    duration = f"endpoint={URL} method={method}"
    assert without_buckets(moved(metrics, failure(method, reason))) == {
        f"refresh_failures_total app=payments method={method} reason={reason}": 1,
        f"refresh_duration_seconds_count {duration}": 1,
        f"refresh_duration_seconds_sum {duration}": 2,
    }


@pytest.mark.parametrize("method", Method)
def test_an_unreadable_credential_is_a_failed_login_that_took_dsm_no_time(
    metrics: Metrics, method: Method
) -> None:
    """No request was sent: its time would make DSM look faster or slower than it is."""
    assert moved(metrics, failure(method, Reason.CREDENTIAL)) == {
        "refresh_failures_total app=payments method=auth reason=credential": 1
    }


def test_writes_and_failures_are_counted_for_their_output(metrics: Metrics) -> None:
    """Which file is stale is the first thing to know."""
    series = moved(
        metrics,
        OutputWritten("payments", PATH, 2),
        OutputWritten("payments", PATH, 3),
        OutputFailed("payments", PATH, "no space left on device", 1.0),
    )
    assert series == {
        f"output_writes_total app=payments output={PATH}": 2,
        f"output_failures_total app=payments output={PATH}": 1,
    }


@pytest.mark.parametrize("result", Ending)
def test_ended_sessions_are_counted_by_result(metrics: Metrics, result: Ending) -> None:
    """Sessions that cannot be ended pile up at DSM."""
    assert moved(metrics, SessionEnded("payments", result)) == {
        f"sessions_terminated_total app=payments result={result}": 1
    }


@pytest.mark.parametrize("result", HookResult)
def test_hooks_are_counted_by_result(metrics: Metrics, result: HookResult) -> None:
    """A service that was not told of its new token goes on with the old one until it ends."""
    assert moved(metrics, HookRan("payments", "hooks[0] systemctl", result, 0.1)) == {
        f"hook_runs_total app=payments result={result}": 1
    }


def test_the_daemons_own_series_follow_its_events(metrics: Metrics) -> None:
    """Clocks, loop and configuration have no app to blame."""
    series = moved(
        metrics,
        ClockJumped(Jump.SUSPEND, 3600.0),
        ClockJumped(Jump.STEP, -1.0),
        LoopLagged(0.5),
        LoopLagged(0.25),
        ReloadFailed("line 3 is wrong"),
    )
    assert series == {
        "clock_jumps_total kind=suspend": 1,
        "clock_jumps_total kind=step": 1,
        "event_loop_lag_seconds": 0.25,
        "config_last_reload_successful": -1,
    }


def test_events_without_a_series_change_nothing(metrics: Metrics) -> None:
    """What only the log tells must not fail in the metrics."""
    assert not moved(
        metrics,
        TokenExpired("payments", 1),
        OutputRemoved("payments", PATH),
        CredentialChanged("payments"),
        EntityMismatch("payments", "expected", "other"),
        AccessDenied("payments", "api", 1000, 1000, 42, ""),
        ConnectionRejected("api", 1000, 128),
        AcceptFailed("api", "no files"),
        AppCrashed("payments", ValueError(), 1.0),
        Started("1.0", 1),
        Warned("a file is readable by all"),
        Stopping("SIGTERM"),
    )


def test_what_is_told_of_unknown_apps_and_outputs_is_not_counted(metrics: Metrics) -> None:
    """The end of a removed app's session comes after it is gone; its series must not return."""
    metrics.remove_app("payments")
    metrics.remove_app("payments")
    assert not moved(
        metrics,
        SessionEnded("payments", Ending.TERMINATED),
        OutputWritten("payments", PATH, 1),
    )
    metrics.add_app(PAYMENTS)
    assert not moved(metrics, OutputWritten("payments", "/elsewhere", 1))


def test_an_endpoint_not_seen_before_gets_its_series(metrics: Metrics) -> None:
    """A request under way while its app moves to another endpoint is counted all the same."""
    event = SessionChecked("payments", "https://eu.smartkey.io", 0.25)
    metrics.observe(event)
    name = "refresh_duration_seconds_count endpoint=https://eu.smartkey.io method=keepalive"
    assert scrape(metrics)[name] == 1


def test_an_app_that_was_changed_keeps_its_counts(metrics: Metrics) -> None:
    """A counter that starts over without a restart hides what happened just before a reload."""
    metrics.observe(AttemptBegan("payments", Method.AUTH, 0.0))
    metrics.observe(OutputWritten("payments", PATH, 1))
    metrics.observe(OutputFailed("payments", PATH, "full", 1.0))
    files = (FileSpec(Path("/run/new")), FileSpec(Path(PATH)))
    metrics.add_app(App("payments", PAYMENTS.endpoint, PAYMENTS.credential, files=files))
    series = scrape(metrics)
    assert series["refresh_attempts_total app=payments method=auth"] == 1
    assert series[f"output_writes_total app=payments output={PATH}"] == 1
    assert series[f"output_failures_total app=payments output={PATH}"] == 1
    assert series["output_writes_total app=payments output=/run/new"] == 0
    metrics.add_app(App("payments", PAYMENTS.endpoint, PAYMENTS.credential))
    assert not any(" output=" in name for name in scrape(metrics))
