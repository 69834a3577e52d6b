"""Which series an app has: all that can ever move, and no others."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.metrics.observer import Metrics
from refresherd.domain import session_state
from refresherd.domain.errors import HookError, OutputError
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
    LdapApp,
    Method,
    SystemdCredential,
    Timing,
    TokenFile,
)
from refresherd.domain.readiness import AppStatus
from refresherd.domain.report import AppReport
from support.fakes import ENTITY_ID
from support.metered_app import ANSWERS, OK, PATH, Life, events_of
from support.scrapes import NOW, series

KEY = Path("/etc/key")
CREDENTIALS: tuple[Credential, ...] = (
    ApiKeyFile(KEY),
    SystemdCredential("payments", None),
    ApiKeyEnv("KEY"),
    ApiKeyCommand(("pass", "dsm")),
    TokenFile(KEY),
    Certificate(ENTITY_ID, KEY, KEY),
    LdapApp(ENTITY_ID, "payments", KEY),
)
HTTPS = Endpoint("https://amer.smartkey.io")
PLAIN = Endpoint("http://localhost:8080")
PROXIED = Endpoint(PLAIN.url, proxy="https://proxy:3128")
BROKEN = OutputError("no space left on device")
HOOK = HookSpec(("true",))
HOOK_ERRORS = HookError("exit status 1"), HookError("too slow", timed_out=True)

PAYMENTS = App("payments", HTTPS, ApiKeyFile(KEY), files=(FileSpec(PATH),))


@st.composite
def apps(draw: st.DrawFn) -> App:
    """Draw an app whose settings the configuration accepts."""
    credential = draw(st.sampled_from(CREDENTIALS))
    by_token = isinstance(credential, TokenFile)
    timing = Timing(
        renew=draw(
            st.sampled_from([one for one in Method if one is not Method.AUTH or not by_token])
        ),
        session_check=draw(st.sampled_from([None, 250.0])),
        terminate_after=draw(st.sampled_from([None, 5.0, 60.0])),
    )
    endpoint = draw(st.sampled_from([HTTPS, PLAIN, PROXIED]))
    hooks = draw(st.sampled_from([(), (HOOK,)]))
    files = draw(st.sampled_from([(), (FileSpec(PATH),)]))
    return App("payments", endpoint, credential, timing, files, hooks=hooks)


LIVES = st.builds(
    Life,
    answers=st.lists(st.sampled_from(ANSWERS), max_size=12),
    terminations=st.lists(st.sampled_from(ANSWERS), max_size=4),
    writes=st.lists(st.sampled_from([None, BROKEN]), max_size=4),
    hooks=st.lists(st.sampled_from([None, *HOOK_ERRORS]), max_size=4),
    incidents=st.lists(st.sampled_from(["break", "replace", "refresh"]), max_size=5),
    ends=st.booleans(),
)


@given(apps(), LIVES)
def test_no_event_counts_into_a_series_that_is_missing(app: App, life: Life) -> None:
    """A rate misses the first failure if the series begins with it, and so does the alert."""
    metrics = Metrics(NOW, [app], ends_sessions=life.ends)
    before = set(series(metrics))
    for event in events_of(app, life):
        metrics.observe(event)
    assert set(series(metrics)) == before


DEAD, REFUSED = (401, ""), (403, "")
EVENTFUL = [
    Life(
        [
            # To the first login, to renewals, and after sessions that end or are not renewed.
            *ANSWERS[1:],
            *chain.from_iterable(
                (OK, *[answer] * 5, OK, DEAD, answer, OK, REFUSED, answer) for answer in ANSWERS
            ),
        ],
        terminations=ANSWERS * 3,
        writes=[BROKEN] * 2,
        hooks=HOOK_ERRORS,
        incidents=["break", "refresh"] * 3,
        lasts=40_000.0,
    ),
    Life([OK, *[DEAD] * 9], incidents=["replace"] * 6),
    Life([OK, REFUSED], terminations=[DEAD]),
    Life([OK, REFUSED], terminations=[(500, "")] * 9),
]
"""Lives in which all happens that can happen to an app."""

EVERY_KIND = {
    "plain": PAYMENTS,
    "hooks": replace(PAYMENTS, hooks=(HOOK,)),
    "http": replace(PAYMENTS, endpoint=PLAIN),
    "http by a proxy": replace(PAYMENTS, endpoint=PROXIED),
    "auth": replace(PAYMENTS, timing=Timing(renew=Method.AUTH, terminate_after=None)),
    "checked": replace(PAYMENTS, timing=Timing(session_check=200.0)),
    "keepalive": replace(PAYMENTS, timing=Timing(renew=Method.KEEPALIVE)),
    "token file": replace(PAYMENTS, credential=TokenFile(KEY)),
    "token file, keepalive": replace(
        PAYMENTS, credential=TokenFile(KEY), timing=Timing(renew=Method.KEEPALIVE)
    ),
    "token file, kept sessions": replace(
        PAYMENTS, credential=TokenFile(KEY), timing=Timing(terminate_after=None)
    ),
    "certificate": replace(PAYMENTS, credential=Certificate(ENTITY_ID, KEY, KEY)),
}


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("app", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_counter_of_an_app_moves_sooner_or_later(app: App, *, ends: bool) -> None:
    """At ten thousand apps, a series that stays at 0 for ever costs as much as any other."""
    app = replace(app, timing=replace(app.timing, rejected_retry=30.0))
    metrics = Metrics(NOW, [app], ends_sessions=ends)
    before = set(series(metrics))
    for life in EVENTFUL:
        for event in events_of(app, replace(life, ends=ends)):
            metrics.observe(event)
    counts = {
        name: count
        for name, count in series(metrics).items()
        if "_total app=" in name or "refresh_duration_seconds_count" in name
    }
    assert set(series(metrics)) == before
    assert [name for name, count in counts.items() if count == 0] == []


@pytest.mark.parametrize(
    ("app", "number"),
    [
        (PAYMENTS, 40),
        (replace(PAYMENTS, timing=Timing(terminate_after=None)), 37),
        (replace(PAYMENTS, timing=Timing(renew=Method.AUTH)), 31),
        (replace(PAYMENTS, hooks=(HOOK,)), 43),
    ],
)
def test_an_app_has_few_series(app: App, number: int) -> None:
    """Operators plan their Prometheus by it, and the documentation names it."""
    status = AppStatus(app.name, session_state.begin(NOW))
    found = series(Metrics(NOW, [app]), AppReport(app, status, failed_logins=0))
    assert len([name for name in found if " app=" in name]) == number
