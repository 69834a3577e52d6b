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
from refresherd.adapters.metrics.families import FAMILIES
from refresherd.adapters.metrics.observer import Metrics
from refresherd.adapters.metrics.rendering import Row, render
from refresherd.adapters.metrics.series import movable
from refresherd.domain import session_state
from refresherd.domain.events import ApiAnswered, CertificateRead, Event, LoopLagged
from refresherd.domain.labels import ApiRoute, Ending, HookResult
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Credential,
    Endpoint,
    FileSpec,
    HookSpec,
    Instant,
    LdapApp,
    Method,
    SystemdCredential,
    Timing,
    TokenFile,
)
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import SessionState, State
from support.fakes import grants
from support.scrapes import NOW, exposition, families, text

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


def app(name: str = "payments", path: str = PATH) -> App:
    """Return an app with one file."""
    endpoint = Endpoint("https://amer.smartkey.io")
    return App(name, endpoint, ApiKeyFile(Path("/etc/key")), files=(FileSpec(Path(path)),))


def answering(*apps: App, dropped: int = 0) -> Exposition:
    """Return what answers scrapes of these apps."""
    return exposition(Metrics(NOW, apps), dropped=dropped)


def answering_for(status: AppStatus, now: float = NOW) -> Exposition:
    """Return what answers scrapes of one app with a status."""
    return exposition(Metrics(NOW, [app()]), AppReport(app(), status), now=now)


def gauges(
    session: SessionState, now: float = NOW, outputs: tuple[OutputStatus, ...] = ()
) -> list[float]:
    """Return one app's APP_GAUGES, with instants as boot time."""
    found = families(answering_for(AppStatus("payments", session, outputs), now))
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
    found = families(answering(replace(app(), hooks=(HookSpec(("true",)),))))
    attempts = label_sets(found["refresherd_refresh_attempts"])
    assert attempts == {("auth",), ("reauth",)}
    failures = label_sets(found["refresherd_refresh_failures"])
    assert {("auth", "credential"), ("auth", "rejected"), ("reauth", "session_lost")} <= failures
    assert label_sets(found["refresherd_sessions_terminated"]) == {(end.value,) for end in Ending}
    assert label_sets(found["refresherd_hook_runs"]) == {(result.value,) for result in HookResult}
    for name in ("output_writes", "output_failures", "output_last_write_timestamp_seconds"):
        assert label_sets(found[f"refresherd_{name}"]) == {(PATH,)}


def test_only_a_certificate_app_has_a_certificate_that_expires() -> None:
    """A series that never moves would make an alert on the expiry ring for ever."""
    name = "refresherd_client_certificate_expiry_timestamp_seconds"
    certificate = Certificate("8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", Path("a.crt"), Path("a.key"))
    metrics = Metrics(NOW, [app(), replace(app("billing"), credential=certificate)])
    source = exposition(metrics)

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
    found = families(answering(app(), dropped=7))
    jumps = found["refresherd_clock_jumps"].samples
    assert {s.labels["kind"]: s.value for s in jumps} == {"suspend": 0, "step": 0}
    durations = found["refresherd_refresh_duration_seconds"].samples
    assert {(s.labels["method"], s.labels["result"]) for s in durations if s.value == 0} == {
        (method, result) for method in ("auth", "reauth") for result in ("success", "failure")
    }
    assert found["refresherd_log_lines_dropped"].samples[0].value == 7
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


UUID = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"


@pytest.mark.parametrize(
    ("credential", "kind"),
    [
        (ApiKeyFile(Path("/etc/secret")), "api_key_file"),
        (SystemdCredential("secret", None), "api_key_credential"),
        (ApiKeyEnv("secret"), "api_key_env"),
        (ApiKeyCommand(("pass", "secret")), "api_key_command"),
        (TokenFile(Path("/etc/secret")), "token_file"),
        (Certificate(UUID, Path("secret.crt"), Path("secret.key")), "certificate"),
        (LdapApp(UUID, "secret", Path("secret")), "ldap"),
    ],
)
def test_an_app_says_where_and_how_it_logs_in(credential: Credential, kind: str) -> None:
    """Dashboards group by it. Where the credential is, is nobody's business."""
    source = answering(replace(app(), credential=credential))
    (sample,) = families(source)["refresherd_app_info"].samples
    assert sample.value == 1
    assert sample.labels == {
        "app": "payments",
        "endpoint": "https://amer.smartkey.io",
        "renew": "reauth",
        "credential": kind,
    }
    assert "secret" not in text(source)


def test_what_an_app_says_follows_a_reload() -> None:
    """It would otherwise name the DSM of yesterday in tomorrow's alert."""
    metrics = Metrics(NOW, [app()])
    elsewhere = Endpoint("https://eu.smartkey.io")
    metrics.add_app(replace(app(), endpoint=elsewhere, timing=Timing(renew=Method.AUTH)))
    (sample,) = families(exposition(metrics))["refresherd_app_info"].samples
    assert (sample.labels["endpoint"], sample.labels["renew"]) == (elsewhere.url, "auth")


@pytest.mark.parametrize(("refused", "shown"), [(0, [0, 50]), (7, [7, 50]), (None, [])])
def test_refused_logins_are_shown_with_their_limit(refused: int | None, shown: list[float]) -> None:
    """Operators want to know before the last one. DSM does not count those of a certificate."""
    status = AppStatus("payments", FRESH)
    report = AppReport(app(), status, failed_logins=refused)
    found = families(exposition(Metrics(NOW, [app()]), report))
    names = "refresherd_refused_logins", "refresherd_refused_logins_limit"
    assert [sample.value for name in names for sample in found[name].samples] == shown


@pytest.mark.parametrize("state", State)
def test_exactly_one_state_is_1(state: State) -> None:
    """Dashboards count apps by `sum by (state)`."""
    source = answering_for(AppStatus("payments", replace(FRESH, state=state)))
    samples = families(source)["refresherd_app_state"].samples
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
    found = families(answering_for(AppStatus("payments", FRESH, outputs)))
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
    source = answering(app())
    assert source.content_type(accept).startswith(content_type)
    assert text(source, accept).endswith("# EOF\n") == content_type.startswith("application")


def test_both_formats_say_the_same() -> None:
    """Whichever a scraper prefers, rules and dashboards find the same series."""
    metrics = Metrics(NOW, [app(), app("billing")])
    metrics.add_api("/run/api.sock")
    for event in (LoopLagged(0.5), ApiAnswered(ApiRoute.TOKEN, 200, 0.01)):
        metrics.observe(event)
    source = exposition(metrics)
    as_text, as_openmetrics = (
        {family.name: family for family in parse(text(source, accept))}
        for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS))
    )
    own = [name for name in as_text if name.startswith("refresherd_")]
    assert as_text.keys() == as_openmetrics.keys()
    for name in own:
        assert as_text[name].samples == as_openmetrics[name].samples
        assert as_text[name].type == as_openmetrics[name].type
        assert as_text[name].documentation == as_openmetrics[name].documentation != ""
        # OpenMetrics has a line for the unit, which must be the end of the name.
        assert as_openmetrics[name].unit == ("seconds" if name.endswith("_seconds") else "")
        assert as_text[name].unit == ""


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(names, names)
def test_no_name_breaks_a_format(name: str, path: str) -> None:
    """Quotes, backslashes and newlines in a path must survive."""
    metrics = Metrics(NOW)
    metrics.add_app(app(name, f"/run/{path}"))
    (counters,) = metrics.apps()
    report = AppReport(counters.app, AppStatus(name, FRESH))
    can_move = movable(counters.app, ends_sessions=False)
    row = Row(counters, can_move, report, ready=True, offset=WALL)
    writes = [family for family in FAMILIES if family.name == "output_writes"]
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        lines = "".join(render(writes, [row], openmetrics=openmetrics))
        (found,) = parse(lines + "# EOF\n" * openmetrics)
        assert found.samples[0].labels == {"app": name, "output": str(Path(f"/run/{path}"))}


def test_a_path_that_is_not_utf_8_does_not_fail_every_scrape() -> None:
    """Its bytes reach Python as lone surrogates, which no encoder accepts."""
    source = answering(app(path="/run/\udcff.token"))
    assert 'output="/run/?.token"' in text(source)


def test_apps_may_come_and_go_during_a_scrape() -> None:
    """The event loop goes on while a thread renders."""
    metrics = Metrics(NOW)
    metrics.add_app(app())
    pieces = exposition(metrics).render(TEXT)
    first = next(iter(pieces))
    for number in range(100):
        metrics.add_app(app(f"app-{number}"))
    metrics.remove_app("payments")
    event: Event = LoopLagged(0.5)
    metrics.observe(event)
    rest = b"".join(pieces)
    assert b'refresherd_app_ready{app="payments"} 0' in first + rest
    assert b"app-1" not in rest
