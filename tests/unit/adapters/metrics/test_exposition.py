"""What Prometheus reads: every series from the start, in both formats, for any names."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

import refresherd
from refresherd.adapters.metrics.exposition import TEXT, Exposition
from refresherd.adapters.metrics.families import FAMILIES, Row, render
from refresherd.adapters.metrics.observer import Metrics
from refresherd.domain import session_state
from refresherd.domain.errors import Reason
from refresherd.domain.events import CertificateRead, Event, LoopLagged
from refresherd.domain.labels import Ending, HookResult
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Certificate,
    Endpoint,
    FileSpec,
    Instant,
    Method,
    Timing,
)
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import SessionState, State
from support.fakes import FakeClock, grants

NOW = Instant(1000)
WALL = 1_700_000_000
PATH = "/run/payments.token"
OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.2"
FRESH = session_state.granted(session_state.begin(NOW), next(grants()), NOW, Timing(), 0.0)
APP_GAUGES = (
    "refresherd_token_expiry_timestamp_seconds",
    "refresherd_token_issued_timestamp_seconds",
    "refresherd_next_refresh_timestamp_seconds",
    "refresherd_last_refresh_success_timestamp_seconds",
    "refresherd_token_generation",
    "refresherd_consecutive_failures",
    "refresherd_app_ready",
)


class Apps:
    """A roster with these apps."""

    def __init__(self, *statuses: AppStatus) -> None:
        self._statuses = statuses

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return every status."""
        return self._statuses

    def reports(self) -> tuple[AppReport, ...]:
        """Return nothing: nobody asks for reports here."""
        return ()

    def status(self, name: str) -> AppStatus | None:
        """Return one app's."""
        return next((status for status in self._statuses if status.name == name), None)


def app(name: str = "payments", path: str = PATH) -> App:
    """Return an app with one file."""
    endpoint = Endpoint("https://amer.smartkey.io")
    return App(name, endpoint, ApiKeyFile(Path("/etc/key")), files=(FileSpec(Path(path)),))


def exposition(*apps: App, statuses: tuple[AppStatus, ...] = (), now: float = NOW) -> Exposition:
    """Return the exposition of these apps at an instant."""
    metrics = Metrics(NOW)
    for each in apps:
        metrics.add_app(each)
    return Exposition(metrics, Apps(*statuses), FakeClock(now))


def text(source: Exposition, accept: str = "") -> str:
    """Return the text that a scraper gets."""
    return b"".join(source.render(source.content_type(accept))).decode()


def families(source: Exposition) -> dict[str, Metric]:
    """Return the families by name, as Prometheus reads them."""
    return {family.name: family for family in parse_text(text(source))}


def gauges(
    session: SessionState, now: float = NOW, outputs: tuple[OutputStatus, ...] = ()
) -> list[float]:
    """Return one app's APP_GAUGES, with instants as boot time."""
    statuses = (AppStatus("payments", session, outputs),)
    found = families(exposition(app(), statuses=statuses, now=now))
    values = [found[name].samples[0].value for name in APP_GAUGES]
    return [value - WALL if value > WALL else value for value in values]


def label_sets(family: Metric) -> set[tuple[str, ...]]:
    """Return the values of all labels but `app`, which must be present."""
    return {
        tuple(value for name, value in sorted(sample.labels.items()) if name != "app")
        for sample in family.samples
        if sample.labels["app"] == "payments" and sample.value == 0
    }


def test_every_series_of_an_app_exists_from_the_start_at_0() -> None:
    """A rate over a series that appears with its first event would miss that event."""
    found = families(exposition(app()))
    methods = {(method.value,) for method in Method}
    reasons = {
        (method.value, reason.value)
        for method in Method
        for reason in Reason
        if reason is not Reason.CREDENTIAL
    }
    assert label_sets(found["refresherd_refresh_attempts"]) == methods
    assert label_sets(found["refresherd_refresh_failures"]) == reasons | {("auth", "credential")}
    assert label_sets(found["refresherd_sessions_terminated"]) == {(end.value,) for end in Ending}
    assert label_sets(found["refresherd_hook_runs"]) == {(result.value,) for result in HookResult}
    for name in ("output_writes", "output_failures", "output_last_write_timestamp_seconds"):
        assert label_sets(found[f"refresherd_{name}"]) == {(PATH,)}


def test_only_a_certificate_app_has_a_certificate_that_expires() -> None:
    """A series that never moves would make an alert on the expiry ring for ever."""
    name = "refresherd_client_certificate_expiry_timestamp_seconds"
    certificate = Certificate("8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", Path("a.crt"), Path("a.key"))
    metrics = Metrics(NOW, [app(), replace(app("billing"), credential=certificate)])
    source = Exposition(metrics, Apps(), FakeClock(NOW))

    def samples() -> list[tuple[dict[str, str], float]]:
        return [(sample.labels, sample.value) for sample in families(source)[name].samples]

    assert samples() == [({"app": "billing"}, 0.0)]
    metrics.observe(CertificateRead("billing", "a.crt", 1_800_000_000.0))
    metrics.add_app(replace(app("billing"), credential=certificate, timing=Timing(at=0.3)))
    assert samples() == [({"app": "billing"}, 1_800_000_000.0)]
    metrics.add_app(app("billing"))
    assert samples() == []


def test_the_daemons_series_exist_from_the_start() -> None:
    """A daemon without apps or trouble is monitored as well."""
    found = families(exposition(app()))
    jumps = found["refresherd_clock_jumps"].samples
    assert {s.labels["kind"]: s.value for s in jumps} == {"suspend": 0, "step": 0}
    durations = found["refresherd_refresh_duration_seconds"].samples
    assert {s.labels["method"] for s in durations if s.value == 0} == set(Method)
    assert found["refresherd_refresh_delay_seconds"].samples[-1].value == 0
    assert found["refresherd_event_loop_lag_seconds"].samples[0].value == 0
    loaded = found["refresherd_config_last_reload_success_timestamp_seconds"]
    assert loaded.samples[0].value == WALL + NOW
    assert found["refresherd_config_last_reload_successful"].samples[0].value == 1
    assert found["refresherd_build_info"].samples[0].labels == {
        "version": refresherd.__version__,
        "python_version": platform.python_version(),
    }
    assert {"process_resident_memory_bytes", "python_info"} <= set(found)
    assert "python_gc_collections" in found


@pytest.mark.parametrize("state", State)
def test_exactly_one_state_is_1(state: State) -> None:
    """Dashboards count apps by `sum by (state)`."""
    statuses = (AppStatus("payments", replace(FRESH, state=state)),)
    samples = families(exposition(app(), statuses=statuses))["refresherd_app_state"].samples
    assert {s.labels["state"]: s.value for s in samples} == {s: s is state for s in State}


def test_an_app_without_a_token_counts_as_expired() -> None:
    """`time() > expiry` must fire for an app that never got a token."""
    assert gauges(session_state.begin(NOW)) == [0, 0, 1000, 0, 0, 0, 0]


def test_an_app_with_a_token_shows_its_times() -> None:
    """Every outage raises the question how long until expiry and until the next attempt."""
    assert gauges(FRESH, now=1100) == [1600, 1000, 1300, 1000, 1, 0, 1]


def test_an_app_whose_output_is_behind_is_not_ready() -> None:
    """A token that only the daemon holds helps no consumer."""
    *_, ready = gauges(FRESH, outputs=(OutputStatus(PATH),))
    assert ready == 0


def test_the_times_of_an_expired_token_stay() -> None:
    """They tell since when consumers have had no token."""
    session = replace(FRESH, state=State.REJECTED, expired=True, failures=3)
    assert gauges(session, now=1700) == [1600, 1000, 1300, 1000, 1, 3, 0]


def test_a_token_that_dsm_ended_has_no_expiry() -> None:
    """The time at which it would have expired must not keep an alert silent."""
    session = replace(FRESH, state=State.EXPIRED, token=None, dead=True)
    assert gauges(session, now=1100)[:2] == [0, 0]


def test_an_attempt_that_is_never_due_is_infinitely_far() -> None:
    """`next_refresh - time()` stays true for an app that waits for its operator."""
    assert gauges(replace(FRESH, next_attempt_at=session_state.NEVER))[2] == float("inf")


def test_the_last_write_of_an_output_is_shown() -> None:
    """A file that is no longer written is found by its age."""
    outputs = (OutputStatus(PATH, FRESH.token, written_at=Instant(1001.5)),)
    found = families(exposition(app(), statuses=(AppStatus("payments", FRESH, outputs),)))
    sample = found["refresherd_output_last_write_timestamp_seconds"].samples[0]
    assert sample.value == WALL + 1001.5


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0;"),
        ("application/openmetrics-text;version=9.x", "application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=new", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_a_scraper_gets_the_format_it_asks_for(accept: str, content_type: str) -> None:
    """Whatever it sends, the content type describes what it gets."""
    source = exposition(app())
    assert source.content_type(accept).startswith(content_type)
    assert text(source, accept).endswith("# EOF\n") == content_type.startswith("application")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(names, names)
def test_no_name_breaks_a_format(name: str, path: str) -> None:
    """Quotes, backslashes and newlines in a path must survive."""
    metrics = Metrics(NOW)
    metrics.add_app(app(name, f"/run/{path}"))
    row = Row(metrics.apps()[0], AppStatus(name, FRESH), ready=True, offset=WALL)
    writes = [family for family in FAMILIES if family.name == "output_writes"]
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        lines = "".join(render(writes, [row], openmetrics=openmetrics))
        (found,) = parse(lines + "# EOF\n" * openmetrics)
        assert found.samples[0].labels == {"app": name, "output": str(Path(f"/run/{path}"))}


def test_a_path_that_is_not_utf_8_does_not_fail_every_scrape() -> None:
    """Its bytes reach Python as lone surrogates, which no encoder accepts."""
    source = exposition(app(path="/run/\udcff.token"))
    assert 'output="/run/?.token"' in text(source)


def test_apps_may_come_and_go_during_a_scrape() -> None:
    """The event loop goes on while a thread renders."""
    metrics = Metrics(NOW)
    metrics.add_app(app())
    pieces = Exposition(metrics, Apps(), FakeClock()).render(TEXT)
    first = next(iter(pieces))
    for number in range(100):
        metrics.add_app(app(f"app-{number}"))
    metrics.remove_app("payments")
    event: Event = LoopLagged(0.5)
    metrics.observe(event)
    rest = b"".join(pieces)
    assert b'refresherd_app_ready{app="payments"} 0' in first + rest
    assert b"app-1" not in rest
