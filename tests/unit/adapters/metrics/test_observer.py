"""Counting: each event changes the series that it should, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.metrics.observer import Metrics
from refresherd.domain import events
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.labels import ApiRoute, Ending, HookResult, Jump
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Endpoint,
    FileSpec,
    HookSpec,
    Instant,
    Method,
    SocketSpec,
    Timing,
)
from support.scrapes import NOW, exposition, families, series

URL = "https://amer.smartkey.io"
PATH = "/run/payments.token"
PAYMENTS = App(
    "payments",
    Endpoint(URL),
    ApiKeyFile(Path("/etc/key")),
    files=(FileSpec(Path(PATH)),),
    hooks=(HookSpec(("true",)),),
)

Series = dict[str, float]


@pytest.fixture
def metrics() -> Metrics:
    """Return the metrics of one app."""
    metrics = Metrics(NOW)
    metrics.add_app(PAYMENTS)
    return metrics


def moved(metrics: Metrics, *observed: Event) -> Series:
    """Return how much the events add to the series that they change, or make appear."""
    before = series(metrics)
    for event in observed:
        metrics.observe(event)
    return {
        name: value - before.get(name, 0)
        for name, value in series(metrics).items()
        if value != before.get(name)
    }


def failure(method: Method = Method.AUTH, reason: Reason = Reason.CONNECT) -> events.AttemptFailed:
    """Return a failure after 2 s."""
    return events.AttemptFailed(
        "payments", URL, method, reason, "refused", 2.0, 1, Instant(1030), request_id=""
    )


def renewal(duration: float = 0.02) -> events.Renewed:
    """Return a reauth that succeeded."""
    return events.Renewed(
        "payments", URL, Method.REAUTH, duration, 2, Instant(1600), Instant(1300), request_id=""
    )


def without_buckets(series: Series) -> Series:
    """Return the series except the buckets of histograms."""
    return {name: value for name, value in series.items() if "_bucket" not in name}


@pytest.mark.parametrize("method", Method)
def test_an_attempt_is_counted_by_its_method_with_its_delay(
    metrics: Metrics, method: Method
) -> None:
    """The rate of attempts reveals a retry loop, their delay an overloaded daemon."""
    assert without_buckets(moved(metrics, events.AttemptBegan("payments", method, 0.25))) == {
        f"refresh_attempts_total app=payments method={method}": 1,
        "refresh_delay_seconds_count": 1,
        "refresh_delay_seconds_sum": 0.25,
    }


def test_a_renewal_is_counted_by_its_duration(metrics: Metrics) -> None:
    """A DSM that gets slower shows before it times out."""
    labels = f"endpoint={URL} method=reauth result=success"
    assert without_buckets(moved(metrics, renewal(0.25))) == {
        f"refresh_duration_seconds_count {labels}": 1,
        f"refresh_duration_seconds_sum {labels}": 0.25,
    }


def test_buckets_are_cumulative_and_include_their_bound(metrics: Metrics) -> None:
    """Prometheus computes quantiles from buckets whose `le` means "less than or equal"."""
    changes = moved(metrics, renewal(0.005), renewal(0.006), renewal(60.0), renewal(3600.0))
    bucket = f"refresh_duration_seconds_bucket endpoint={URL} le=%s method=reauth result=success"
    bounds = ("0.005", "0.01", "30.0", "60.0", "+Inf")
    assert [changes[bucket % bound] for bound in bounds] == [1, 2, 2, 3, 4]


def test_a_session_check_is_timed_as_a_keepalive(metrics: Metrics) -> None:
    """It is the same request to DSM."""
    changes = moved(metrics, events.SessionChecked("payments", URL, 0.25))
    labels = f"endpoint={URL} method=keepalive result=success"
    assert changes[f"refresh_duration_seconds_sum {labels}"] == 0.25


@pytest.mark.parametrize("reason", set(Reason) - {Reason.CREDENTIAL})
@pytest.mark.parametrize("method", Method)
def test_a_failure_is_counted_by_method_and_reason_and_timed(
    metrics: Metrics, method: Method, reason: Reason
) -> None:
    """An alert must tell a refused key from a network that is down."""
    duration = f"endpoint={URL} method={method} result=failure"
    assert without_buckets(moved(metrics, failure(method, reason))) == {
        f"refresh_failures_total app=payments method={method} reason={reason}": 1,
        f"refresh_duration_seconds_count {duration}": 1,
        f"refresh_duration_seconds_sum {duration}": 2,
    }


@pytest.mark.parametrize("method", Method)
def test_an_unreadable_credential_is_a_failed_login_without_a_duration(
    metrics: Metrics, method: Method
) -> None:
    """No request was sent, so a duration would distort DSM's."""
    assert moved(metrics, failure(method, Reason.CREDENTIAL)) == {
        "refresh_failures_total app=payments method=auth reason=credential": 1
    }


def test_writes_and_failures_are_counted_for_their_output(metrics: Metrics) -> None:
    """Which file is stale is the first question."""
    changes = moved(
        metrics,
        events.OutputWritten("payments", PATH, 2),
        events.OutputWritten("payments", PATH, 3),
        events.OutputUnchanged("payments", PATH, 3),
        events.OutputFailed("payments", PATH, "no space left on device", 1.0),
        events.OutputAltered("payments", PATH, "somebody removed it", 0.0),
    )
    assert changes == {
        f"output_writes_total app=payments output={PATH}": 2,
        f"output_failures_total app=payments output={PATH}": 2,
    }


@pytest.mark.parametrize("result", Ending)
def test_ended_sessions_are_counted_by_result(metrics: Metrics, result: Ending) -> None:
    """Sessions that cannot be terminated pile up at DSM."""
    assert moved(metrics, events.SessionEnded("payments", result)) == {
        f"sessions_terminated_total app=payments result={result}": 1
    }


@pytest.mark.parametrize("result", HookResult)
def test_hooks_are_counted_by_result(metrics: Metrics, result: HookResult) -> None:
    """A service that misses a hook goes on with its old token until that expires."""
    assert moved(metrics, events.HookRan("payments", "hooks[0] systemctl", result, 0.1)) == {
        f"hook_runs_total app=payments result={result}": 1
    }


def test_the_daemons_own_series_follow_its_events(metrics: Metrics) -> None:
    """Clocks, event loop and configuration belong to no app."""
    changes = moved(
        metrics,
        events.ClockJumped(Jump.SUSPEND, 3600.0),
        events.ClockJumped(Jump.STEP, -1.0),
        events.LoopLagged(0.5),
        events.LoopLagged(0.25),
        events.ReloadFailed("line 3 is wrong"),
    )
    assert changes == {
        "clock_jumps_total kind=suspend": 1,
        "clock_jumps_total kind=step": 1,
        "event_loop_lag_seconds": 0.25,
        "config_last_reload_successful": -1,
    }


def test_a_web_configuration_counts_like_the_configuration(metrics: Metrics) -> None:
    """One alert covers both, and ends when both are good."""
    gauge = "config_last_reload_successful"
    refused = events.WebConfigRefused(("line 3 is wrong",))
    assert moved(metrics, refused) == {gauge: -1}
    assert not moved(metrics, events.ReloadFailed("line 3 is wrong"))
    assert not moved(metrics, events.WebConfigRead("/etc/web.yml"))
    assert moved(metrics, events.Reloaded(Instant(1000), 0, 0, 0, 0))[gauge] == 1


def test_events_without_a_series_change_nothing(metrics: Metrics) -> None:
    """Events that only the log shows must not fail in the metrics."""
    assert not moved(
        metrics,
        events.TokenExpired("payments", 1),
        events.OutputRemoved("payments", PATH),
        events.CredentialChanged("payments"),
        events.EntityMismatch("payments", "expected", "other"),
        events.AccessDenied("payments", "api", 1000, 1000, 42, ""),
        events.AccessUndecided("payments", "api", 1000, 1000, 42, "it takes too long"),
        events.ConnectionRejected("no listener", Refusal.USER_CONNECTIONS, "1000", 3),
        events.AcceptFailed("api", "no files"),
        events.AppCrashed("payments", ValueError(), 1.0),
        events.Started("1.0", 1),
        events.Warned("a file is readable by all"),
        events.Stopping("SIGTERM"),
        events.Stopped(),
    )


def test_events_of_unknown_apps_and_outputs_are_not_counted(metrics: Metrics) -> None:
    """A removed app's session is terminated after its removal; its series must not return."""
    metrics.remove_app("payments")
    metrics.remove_app("payments")
    assert not moved(
        metrics,
        events.SessionEnded("payments", Ending.TERMINATED),
        events.OutputWritten("payments", PATH, 1),
    )
    metrics.add_app(PAYMENTS)
    assert not moved(metrics, events.OutputWritten("payments", "/elsewhere", 1))


def test_an_unknown_endpoint_gets_its_series(metrics: Metrics) -> None:
    """A request in progress while its app moves to another endpoint is counted all the same."""
    event = events.SessionChecked("payments", "https://eu.smartkey.io", 0.25)
    metrics.observe(event)
    labels = "endpoint=https://eu.smartkey.io method=keepalive result=success"
    assert series(metrics)[f"refresh_duration_seconds_count {labels}"] == 1


def test_a_changed_app_keeps_its_counts(metrics: Metrics) -> None:
    """A counter that starts again without a restart would hide what happened before a reload."""
    metrics.observe(events.AttemptBegan("payments", Method.AUTH, 0.0))
    metrics.observe(events.OutputWritten("payments", PATH, 1))
    metrics.observe(events.OutputFailed("payments", PATH, "full", 1.0))
    files = (FileSpec(Path("/run/new")), FileSpec(Path(PATH)))
    metrics.add_app(replace(PAYMENTS, files=files))
    found = series(metrics)
    assert found["refresh_attempts_total app=payments method=auth"] == 1
    assert found[f"output_writes_total app=payments output={PATH}"] == 1
    assert found[f"output_failures_total app=payments output={PATH}"] == 1
    assert found["output_writes_total app=payments output=/run/new"] == 0
    metrics.add_app(replace(PAYMENTS, files=()))
    assert not any(" output=" in name for name in series(metrics))


def test_an_app_whose_settings_change_gets_the_series_that_can_move_now(metrics: Metrics) -> None:
    """Those that have counted stay, as the attempts of this run go on in the same graph."""
    metrics.observe(events.AttemptBegan("payments", Method.REAUTH, 0.0))
    metrics.observe(failure(Method.REAUTH, Reason.TIMEOUT))
    name = "refresh_failures_total app=payments method=%s reason=%s"
    assert name % ("reauth", "connect") in series(metrics)
    metrics.add_app(replace(PAYMENTS, timing=Timing(renew=Method.KEEPALIVE)))
    found = series(metrics)
    assert found["refresh_attempts_total app=payments method=reauth"] == 1
    assert found[name % ("reauth", "timeout")] == 1
    assert name % ("reauth", "connect") not in found
    assert found[name % ("keepalive", "connect")] == 0
    # An attempt under the old settings may end while the reload stops it.
    late = moved(metrics, failure(Method.REAUTH, Reason.CONNECT))
    assert late[name % ("reauth", "connect")] == 1


def test_terminations_have_series_while_stopping_apps_end_their_sessions(metrics: Metrics) -> None:
    """With `shutdown = "terminate"`, an app that never ends a session does so when it stops."""
    metrics.add_app(replace(PAYMENTS, timing=Timing(terminate_after=None)))
    name = "sessions_terminated_total app=payments result=failed"
    assert name not in series(metrics)
    metrics.ends_sessions = True
    assert series(metrics)[name] == 0


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return a metric's samples by the values of their labels, in the labels' order."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families(exposition(metrics)).values()
        for sample in family.samples
        if sample.name == name
    }


def test_the_series_of_requests_exist_from_the_start() -> None:
    """An alert on the rate of denials must not miss the first one."""
    metrics = Metrics(NOW)
    assert samples(metrics, "refresherd_api_requests_total") == {}  # it has no API
    metrics.add_api("/run/api.sock")
    counts = samples(metrics, "refresherd_api_requests_total")
    assert set(counts.values()) == {0.0}
    assert {("200", route.value) for route in ApiRoute if route is not ApiRoute.UNKNOWN} <= set(
        counts
    )
    for code in ("403", "503"):
        assert (code, "/v1/apps/{app}/token") in counts
    timed = samples(metrics, "refresherd_api_request_duration_seconds_count")
    assert timed == {(route.value,): 0.0 for route in ApiRoute}


@pytest.mark.parametrize("route", ApiRoute)
def test_a_request_is_counted_and_timed_by_its_route(route: ApiRoute) -> None:
    """A code that the route was not expected to have appears all the same."""
    metrics = Metrics(NOW)
    metrics.add_api("/run/api.sock")
    for code, duration in ((200, 0.0002), (200, 0.02), (500, 2.0)):
        metrics.observe(events.ApiAnswered(route, code, duration))
    counts = samples(metrics, "refresherd_api_requests_total")
    assert {key: count for key, count in counts.items() if count} == {
        ("200", route.value): 2.0,
        ("500", route.value): 1.0,
    }
    sums = samples(metrics, "refresherd_api_request_duration_seconds_sum")
    assert sums[(route.value,)] == pytest.approx(2.0202)
    buckets = samples(metrics, "refresherd_api_request_duration_seconds_bucket")
    below = [buckets[bound, route.value] for bound in ("0.00025", "0.05", "+Inf")]
    assert below == [1.0, 2.0, 3.0]


def test_a_socket_is_an_output_like_a_file() -> None:
    """Dashboards use the same series to show whether it is up to date."""
    metrics = Metrics(NOW)
    metrics.add_app(
        App(
            "payments",
            Endpoint("https://amer.smartkey.io"),
            ApiKeyFile(Path("/etc/key")),
            files=(FileSpec(Path("/run/a.token")),),
            sockets=(SocketSpec(Path("/run/a.sock")),),
        )
    )
    writes = samples(metrics, "refresherd_output_writes_total")
    assert writes == {("payments", "/run/a.token"): 0.0, ("payments", "/run/a.sock"): 0.0}
