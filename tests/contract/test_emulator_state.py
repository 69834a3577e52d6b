"""The emulator's sessions, logins and faults behave as DSM documents them; no network or clock."""

import base64
import random
import subprocess
import sys
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.emulator import Apps, Expiry, Fault, Faults, Sessions

DAY = 24 * 3600.0
APP_ID = "0b8a4b1c-7f5e-4f0e-9a53-2b1b7a0c9d11"


def api_key(app_id: str, secret: str) -> str:
    """Write an API key the way DSM does."""
    return base64.b64encode(f"{app_id}:{secret}".encode()).decode()


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    time: float = 1000.0


@dataclass
class Dsm:
    """The parts under test, on one clock."""

    clock: Clock
    apps: Apps
    sessions: Sessions


def make_dsm(*, expiry: Expiry = "idle", lifetime: float = 600.0, fips: bool = True) -> Dsm:
    """Make a DSM with two apps."""
    clock, random_bytes = Clock(), random.Random(1).randbytes  # noqa: S311 - alike on every run
    apps = Apps(lifetime=lifetime, random_bytes=random_bytes, fips=fips)
    apps.add()
    apps.add()
    sessions = Sessions(expiry=expiry, now=lambda: clock.time, random_bytes=random_bytes)
    return Dsm(clock, apps, sessions)


def test_an_idle_session_lives_a_lifetime_from_its_last_use() -> None:
    """DSM's default is ten minutes without use, so every use must put the end off."""
    dsm = make_dsm(expiry="idle")
    token = dsm.sessions.open(dsm.apps[0]).token
    for _ in range(5):
        dsm.clock.time += 599.9
        assert dsm.sessions.use(token)
    dsm.clock.time += 600.0
    assert dsm.sessions.use(token) is None


def test_an_absolute_session_ends_however_much_it_is_used() -> None:
    """The Python client's documentation says "from issuance"; a client must live with that too."""
    dsm = make_dsm(expiry="absolute")
    token = dsm.sessions.open(dsm.apps[0]).token
    dsm.clock.time += 599.9
    assert dsm.sessions.use(token)
    dsm.clock.time += 0.1
    assert dsm.sessions.use(token) is None


@given(st.lists(st.floats(min_value=0.0, max_value=20.0), max_size=30), st.booleans())
def test_a_session_works_exactly_until_its_deadline(pauses: list[float], idle: bool) -> None:  # noqa: FBT001 - hypothesis passes by position
    """Whatever the rhythm of use, an ended session must not come back and a live one not end."""
    dsm = make_dsm(expiry="idle" if idle else "absolute", lifetime=10.0)
    token = dsm.sessions.open(dsm.apps[0]).token
    ends = dsm.clock.time + 10.0
    for pause in pauses:
        dsm.clock.time += pause
        alive = dsm.clock.time < ends
        assert (dsm.sessions.use(token) is not None) == alive
        assert len(dsm.sessions.live()) == alive
        if idle and alive:
            ends = dsm.clock.time + 10.0


def test_a_changed_lifetime_holds_for_new_sessions_only() -> None:
    """An administrator's change must not break the promise that `expires_in` made before."""
    dsm = make_dsm(lifetime=600.0)
    app = dsm.apps[0]
    old = dsm.sessions.open(app)
    app.lifetime = 5.0
    new = dsm.sessions.open(app)
    dsm.clock.time += 5.0
    assert dsm.sessions.live(app) == [old]
    assert dsm.sessions.use(new.token) is None


def test_sessions_of_one_app_end_together_and_leave_the_other_apps_alone() -> None:
    """Tests end one app's sessions from outside to see whether its neighbour notices."""
    dsm = make_dsm()
    mine = [dsm.sessions.open(dsm.apps[0]).token for _ in range(3)]
    other = dsm.sessions.open(dsm.apps[1]).token
    assert dsm.sessions.end_all(dsm.apps[0]) == 3
    assert [dsm.sessions.use(token) for token in mine] == [None, None, None]
    assert dsm.sessions.use(other)
    assert dsm.sessions.end_all() == 1
    assert dsm.sessions.live() == []


def test_ending_a_session_says_whether_it_was_alive() -> None:
    """A test that ends a session must learn that it came too late."""
    dsm = make_dsm()
    alive, expired = (dsm.sessions.open(dsm.apps[0]).token for _ in range(2))
    assert dsm.sessions.end(alive)
    assert not dsm.sessions.end(alive)
    dsm.clock.time += 600.0
    assert not dsm.sessions.end(expired)
    assert not dsm.sessions.end("never issued")


def test_every_token_ever_issued_is_remembered_with_its_owner() -> None:
    """The fault suite compares what consumers saw with what was issued, long after it expired."""
    dsm = make_dsm(lifetime=1.0)
    issued = []
    for _ in range(50):
        issued.append(dsm.sessions.open(dsm.apps[0]).token)
        dsm.clock.time += 2.0
    other = dsm.sessions.open(dsm.apps[1]).token
    assert dsm.sessions.tokens(dsm.apps[0]) == issued
    assert dsm.sessions.tokens() == [*issued, other]
    first = dsm.sessions.issued(issued[0])
    assert first is not None
    assert first.app is dsm.apps[0]
    assert first.deadline == 1001.0
    assert dsm.sessions.issued("never issued") is None
    assert len(set(issued)) == 50


def test_tokens_and_api_keys_look_like_dsms() -> None:
    """Clients check shapes: 86 characters of base64url, base64 of a UUID, a colon and a secret."""
    dsm = make_dsm()
    token = dsm.sessions.open(dsm.apps[0]).token
    assert len(token) == 86
    assert len(base64.urlsafe_b64decode(token + "==")) == 64
    name, _, secret = base64.b64decode(dsm.apps[0].api_key).decode().partition(":")
    assert name == dsm.apps[0].id == str(uuid.UUID(name))
    assert secret == dsm.apps[0].secret


def test_an_app_may_bring_its_own_api_key() -> None:
    """A test with a key in a file needs an emulator that knows this key."""
    dsm = make_dsm()
    app = dsm.apps.add("billing", api_key=api_key(APP_ID, "s3cret"), lifetime=2.5)
    assert (app.id, app.name, app.secret, app.lifetime) == (APP_ID, "billing", "s3cret", 2.5)
    assert dsm.apps.find("billing") is dsm.apps.find(APP_ID) is app
    assert dsm.apps.authenticate(api_key(APP_ID.upper(), "s3cret"), None, 0.0) is app


@pytest.mark.parametrize(
    "key", ["%%%", "bm8gY29sb24=", api_key("no uuid", "x"), api_key(APP_ID, ""), "/w=="]
)
def test_a_faulty_api_key_is_refused_when_added(key: str) -> None:
    """A typo in a test's set-up should fail there and not as a puzzling 401."""
    with pytest.raises(ValueError, match="base64 of"):
        make_dsm().apps.add(api_key=key)


def test_an_app_is_added_once_and_with_one_kind_of_credential() -> None:
    """Two apps of the same UUID, or a certificate beside a key, would make logins ambiguous."""
    dsm = make_dsm()
    with pytest.raises(ValueError, match="already exists"):
        dsm.apps.add(api_key=dsm.apps[0].api_key)
    with pytest.raises(ValueError, match="already exists"):
        dsm.apps.add("app-1")
    for certificate in (True, False):
        with pytest.raises(ValueError, match="keep one of them"):
            dsm.apps.add(
                api_key=api_key(APP_ID, "x"), certificate=certificate, ldap=not certificate
            )
    for name in ("two\nlines", " ", "\ud800"):
        with pytest.raises(ValueError, match="name: must be one line of printable characters"):
            dsm.apps.add(name)
    with pytest.raises(ValueError, match="password: must be one line"):
        dsm.apps.add(ldap=True, password="a\x00b")
    with pytest.raises(ValueError, match="only an LDAP app has a password"):
        dsm.apps.add(password="x")
    with pytest.raises(ValueError, match='no app "app-9"; did you mean "app-2"'):
        dsm.apps.find("app-9")


def test_a_name_that_is_taken_is_not_given_to_the_next_app() -> None:
    """Configurations name apps, so a name has to mean one of them."""
    dsm = make_dsm()
    dsm.apps.add("app-4")
    assert [dsm.apps.add().name, dsm.apps.add().name] == ["app-5", "app-6"]


def test_the_hundredth_failure_in_a_day_resets_the_secret() -> None:
    """This is what DSM in FIPS mode does to the customer's credential, sessions included."""
    dsm = make_dsm()
    app = dsm.apps[0]
    key, token = app.api_key, dsm.sessions.open(app).token
    for _ in range(99):
        assert dsm.apps.authenticate(api_key(app.id, "wrong"), None, dsm.clock.time) is None
    assert app.recent_failures(dsm.clock.time) == 99
    assert dsm.apps.authenticate(key, None, dsm.clock.time) is app
    dsm.apps.authenticate(api_key(app.id, "wrong"), None, dsm.clock.time)
    assert dsm.apps.authenticate(key, None, dsm.clock.time) is None
    assert dsm.sessions.use(token) is None
    assert app.counts.secret_resets == 1
    assert dsm.apps.authenticate(app.api_key, None, dsm.clock.time) is app


@given(
    st.lists(
        st.tuples(st.floats(min_value=0.0, max_value=DAY / 3), st.integers(1, 40)), max_size=12
    )
)
def test_failures_are_counted_over_a_sliding_day(bursts: list[tuple[float, int]]) -> None:
    """A count by calendar day, or one that never forgets, would reset at other times."""
    dsm = make_dsm()
    app = dsm.apps[0]
    failures: list[float] = []
    for pause, size in bursts:
        dsm.clock.time += pause
        for _ in range(size):
            resets = app.counts.secret_resets
            dsm.apps.authenticate(api_key(app.id, "wrong"), None, dsm.clock.time)
            failures = [t for t in (*failures, dsm.clock.time) if t > dsm.clock.time - DAY]
            if len(failures) >= 100:
                failures = []
                resets += 1
            assert app.counts.secret_resets == resets
            assert app.recent_failures(dsm.clock.time) == len(failures)


def test_without_fips_a_wrong_key_harms_nothing() -> None:
    """Outside FIPS mode DSM has no such reset; both modes must be there to test against."""
    dsm = make_dsm(fips=False)
    app = dsm.apps[0]
    for _ in range(300):
        dsm.apps.authenticate(api_key(app.id, "wrong"), None, 0.0)
    assert dsm.apps.authenticate(app.api_key, None, 0.0) is app
    assert app.counts.failed_logins == 300


def test_failures_are_counted_for_the_app_that_the_key_names() -> None:
    """One app's wrong key must not burn another's, and an unreadable key is nobody's."""
    dsm = make_dsm()
    for key in (api_key(APP_ID, "x"), "unreadable", api_key(dsm.apps[1].id, "x")):
        assert dsm.apps.authenticate(key, None, 0.0) is None
    assert [app.counts.failed_logins for app in dsm.apps] == [0, 1]


def test_a_certificate_logs_in_its_own_app_only() -> None:
    """Another app's certificate, or none, must not open a session; neither burns anything."""
    dsm = make_dsm()
    app = dsm.apps.add(certificate=True)
    assert app.api_key == api_key(app.id, "")
    assert dsm.apps.authenticate(app.api_key, app.id, 0.0) is app
    for name in (None, dsm.apps[0].id):
        assert dsm.apps.authenticate(app.api_key, name, 0.0) is None
    assert dsm.apps.authenticate(api_key(app.id, "secret"), app.id, 0.0) is None
    assert app.recent_failures(0.0) == 0
    token = dsm.sessions.open(app).token
    dsm.apps.reset_secret(app)
    assert dsm.sessions.use(token) is None
    assert dsm.apps.authenticate(app.api_key, app.id, 0.0) is app


def test_faults_apply_in_the_order_in_which_they_were_added() -> None:
    """A test writes a script: twice 503, then once 401, then all is well."""
    dsm, faults = make_dsm(), Faults()
    faults.add(Fault(status=503, times=2))
    faults.add(Fault(status=401, times=1))
    taken = [faults.take("auth", "/sys/v1/session/auth", dsm.apps[0]) for _ in range(4)]
    assert [fault and fault.status for fault in taken] == [503, 503, 401, None]
    assert len(faults) == 0


def test_a_fault_applies_only_to_the_requests_it_names() -> None:
    """A fault for one app or operation must leave the others' requests as they are."""
    dsm, faults = make_dsm(), Faults()
    first, second = dsm.apps
    number = faults.add(Fault(operation="reauth", app=first.id))
    faults.add(Fault(operation="/crypto/v1/keys", app=second.name))
    assert faults.take("auth", "/sys/v1/session/auth", first) is None
    assert faults.take("reauth", "/sys/v1/session/reauth", second) is None
    assert faults.take("health", "/sys/v1/health", None) is None
    assert faults.take("reauth", "/sys/v1/session/reauth", first)
    assert faults.take("keys", "/crypto/v1/keys", second)
    assert faults.remove(number)
    assert not faults.remove(number)
    faults.clear()
    assert list(faults) == []


def test_a_fault_is_a_value_that_its_maker_cannot_change_afterwards() -> None:
    """A test that reuses a dict for the next fault must not change the one in force."""
    fields = {"expires_in": 0}
    fault = Fault(fields=fields)
    fields["expires_in"] = 1
    assert fault.fields == {"expires_in": 0}


@pytest.mark.parametrize(
    "senseless",
    [
        {"operation": "reauht"},
        {"times": 0},
        {"status": 99},
        {"reset": "after"},
        {"delay": -1.0},
        {"body": "without a status"},
        {"fields": 3},
        {"delay": "2"},
    ],
)
def test_a_senseless_fault_is_refused(senseless: dict[str, object]) -> None:
    """A misspelt fault that silently never happens makes a test pass for no reason."""
    with pytest.raises((TypeError, ValueError)):
        Fault(**senseless)  # type: ignore[arg-type] # wrong on purpose


def test_importing_the_emulator_leaves_cryptography_alone() -> None:
    """It loads slowly and plain HTTP does not need it; nor may the client's code be loaded."""
    program = (
        "import sys, refresherd.emulator;"
        "print('cryptography' in sys.modules,"
        " [m for m in sys.modules if m.startswith('refresherd.')"
        " and not m.startswith('refresherd.emulator')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False []"
