"""The demo shows what /metrics say, so what they say must be read right."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.demo.snapshot import AppView, Snapshot, parse

EXPOSITION = """\
# HELP refresherd_refresh_attempts_total Requests for a session.
# TYPE refresherd_refresh_attempts_total counter
refresherd_refresh_attempts_total{app="app-1",method="auth"} 1
refresherd_refresh_attempts_total{app="app-1",method="reauth"} 8
refresherd_refresh_failures_total{app="app-1",method="reauth",reason="timeout"} 2
refresherd_refresh_failures_total{app="app-1",method="reauth",reason="tls"} 0
refresherd_token_expiry_timestamp_seconds{app="app-1"} 1020.5
refresherd_token_issued_timestamp_seconds{app="app-1"} 1000.5
refresherd_next_refresh_timestamp_seconds{app="app-1"} 1010.0
refresherd_token_generation{app="app-1"} 7
refresherd_consecutive_failures{app="app-1"} 2
refresherd_app_state{app="app-1",state="fresh"} 0
refresherd_app_state{app="app-1",state="retrying"} 1
refresherd_output_writes_total{app="app-1",output="/tmp/app-1.token"} 7
refresherd_token_expiry_timestamp_seconds{app="app-2"} 0
refresherd_token_issued_timestamp_seconds{app="app-2"} 0
refresherd_next_refresh_timestamp_seconds{app="app-2"} +Inf
refresherd_app_state{app="app-2",state="starting"} 1
refresherd_event_loop_lag_seconds 0.001
"""

COUNTS = st.integers(0, 10**6)
MOMENTS = st.one_of(st.none(), st.floats(1, 1e10))


@st.composite
def apps(draw: st.DrawFn) -> AppView:
    """Draw an app as a daemon might tell of it."""
    return AppView(
        name=draw(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)),
        state=draw(st.sampled_from(["starting", "fresh", "retrying", "expired", "rejected"])),
        generation=draw(COUNTS),
        issued_at=draw(MOMENTS),
        expires_at=draw(MOMENTS),
        next_refresh_at=draw(MOMENTS),
        consecutive_failures=draw(COUNTS),
        attempts=draw(st.dictionaries(st.sampled_from(["auth", "reauth"]), COUNTS)),
        failures=draw(
            st.dictionaries(
                st.tuples(st.sampled_from(["auth", "reauth"]), st.sampled_from(["tls", "timeout"])),
                COUNTS,
            )
        ),
    )


def exposition(app: AppView) -> str:
    """Return the series from which the app is to be read."""
    label = f'{{app="{app.name}"'
    lines = [
        f"refresherd_token_generation{label}}} {app.generation}",
        f"refresherd_consecutive_failures{label}}} {app.consecutive_failures}",
        f'refresherd_app_state{label},state="{app.state}"}} 1',
        f"refresherd_token_issued_timestamp_seconds{label}}} {app.issued_at or 0}",
        f"refresherd_token_expiry_timestamp_seconds{label}}} {app.expires_at or 0}",
        f"refresherd_next_refresh_timestamp_seconds{label}}} {app.next_refresh_at or 0}",
    ]
    lines += [
        f'refresherd_refresh_attempts_total{label},method="{method}"}} {count}'
        for method, count in app.attempts.items()
    ]
    lines += [
        f'refresherd_refresh_failures_total{label},method="{m}",reason="{r}"}} {count}'
        for (m, r), count in app.failures.items()
    ]
    return "\n".join(lines) + "\n"


def test_what_is_shown_is_what_the_metrics_say() -> None:
    """A viewer must see the daemon's own numbers, whatever other series stand between them."""
    snapshot = parse(EXPOSITION, now=1004.5)
    assert snapshot.now == 1004.5
    one, two = snapshot.apps
    assert (one.name, one.state, one.generation) == ("app-1", "retrying", 7)
    assert one.left(snapshot.now) == 16.0
    assert one.lifetime == 20.0
    assert one.next_in(snapshot.now) == 5.5
    assert one.attempts == {"auth": 1, "reauth": 8}
    assert one.failures["reauth", "timeout"] == 2
    assert two.name == "app-2"


def test_an_app_without_a_token_has_no_times() -> None:
    """The daemon writes 0 for what has not happened, which is not the year 1970."""
    app = parse(EXPOSITION, now=1004.5).apps[1]
    assert app.state == "starting"
    assert app.left(1004.5) is None
    assert app.lifetime is None
    assert app.next_in(1004.5) is None
    assert app.refreshes == 0


def test_a_token_that_ran_out_has_nothing_left() -> None:
    """The expiry stays in the metrics when it has passed, but nothing is left to show."""
    app = AppView("a", issued_at=1000.0, expires_at=1020.0, next_refresh_at=1010.0)
    assert app.left(1020.0) is None
    assert app.next_in(1011.0) == 0.0


@given(app=apps())
def test_every_value_is_read(app: AppView) -> None:
    """No value may get lost or land in another field on its way through the text."""
    assert parse(exposition(app), now=5.0) == Snapshot(5.0, (app,))


def test_nothing_is_known_before_the_daemon_has_apps() -> None:
    """An exposition of the daemon's own series alone must not end the demo."""
    assert parse("refresherd_event_loop_lag_seconds 0.001\n", now=1.0).apps == ()


def test_totals_are_over_all_apps() -> None:
    """The first token is a login and no refresh; who never got one is named."""
    snapshot = Snapshot(
        0.0,
        (
            AppView("a", generation=4, failures={("reauth", "tls"): 1, ("auth", "timeout"): 2}),
            AppView("b", generation=1),
            AppView("c"),
        ),
    )
    assert snapshot.refreshes == 3
    assert snapshot.failures == 3
    assert snapshot.without_token == ("c",)
