"""Secrets stay secret, and values stay values."""

import copy
import pickle
import traceback
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from refresherd.adapters.dsm.answers import Exchange, Operation
from refresherd.adapters.dsm.auth_response import AuthResponse
from refresherd.adapters.dsm.routes import Route
from refresherd.adapters.dsm.tls import TlsFiles
from refresherd.domain.model import (
    ApiKeyFile,
    App,
    Endpoint,
    FileSpec,
    Grant,
    Instant,
    Ownership,
    Secret,
    Timing,
    Token,
)
from refresherd.host.keyed_executor import _Outcome
from refresherd.host.subprocesses import Program

LONG = st.text(min_size=5)


def app() -> App:
    """Return a configured app, anew each time."""
    return App(
        name="payments",
        endpoint=Endpoint("https://amer.smartkey.io"),
        credential=ApiKeyFile(Path("payments.key")),
        files=(FileSpec(Path("/run/payments.token")),),
    )


@given(LONG)
def test_no_way_of_printing_shows_a_secret(value: str) -> None:
    """A log line or a traceback formats its values in one of these ways."""
    assume(value not in "***")
    secret = Secret(value)
    shown = (str(secret), repr(secret), f"{secret}", f"{secret!r}", "%s" % secret, ascii(secret))  # noqa: UP031  # an old way
    assert set(shown) == {"***"}


@given(LONG)
def test_a_value_that_holds_a_secret_hides_it(value: str) -> None:
    """Grants and tokens are printed whole when somebody debugs."""
    secret = Secret(f"<{value}>")
    grant = Grant(secret, "entity", 600.0)
    token = Token(secret, "entity", 1, Instant(0), 600.0, Instant(600))
    assert f"<{value}>" not in repr(grant) + repr(token)


def test_values_that_hold_a_plain_secret_hide_it() -> None:
    """The environment, a proxy's user and DSM's answer may be printed by a debugging loop."""
    secret = "hunter-2222"
    holders = (
        Endpoint("https://amer.smartkey.io", proxy=f"http://{secret}@proxy"),
        Route(URL("https://amer.smartkey.io"), f"http://{secret}@proxy", 1, TlsFiles()),
        Program(("true",), {"API_KEY": secret}),
        AuthResponse("Bearer", 1, "", secret),
        Exchange(Operation.LOGIN, Secret(secret), 200, {"X": secret}, secret.encode(), 0.0),
        _Outcome(secret.encode()),
    )
    assert [holder for holder in holders if secret in repr(holder)] == []


def fail(secret: Secret) -> None:
    """Fail with a secret among the local variables and in the error itself."""
    raise LookupError(secret)


def test_a_traceback_that_shows_locals_hides_the_secret() -> None:
    """Error reporters print the local variables of every frame."""
    with pytest.raises(LookupError) as caught:
        fail(Secret("hunter2" * 3))
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(report.format())
    assert "secret = ***" in text
    assert "hunter2hunter2" not in text


@given(st.text())
def test_reveal_returns_what_went_in(value: str) -> None:
    """A token must reach its consumers unchanged."""
    assert Secret(value).reveal() == value


@given(st.text(), st.text())
def test_secrets_are_equal_as_their_strings_are(one: str, other: str) -> None:
    """An output tells the newest token from the one it holds by comparing them."""
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)


def test_a_secret_equals_no_plain_string() -> None:
    """Comparing with a string is a mistake, and answering True would hide it."""
    assert Secret("a") != "a"


def test_a_secret_is_no_dictionary_key() -> None:
    """A hash of a secret in a table is one more copy that can leak, also by timing."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret("a"))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied_or_pickled(take: object) -> None:
    """Pickling is how a secret would reach another process or a file."""
    assert callable(take)
    with pytest.raises(TypeError, match="cannot be pickled"):
        take(Secret("a"))


def test_a_secret_has_no_attributes_to_list() -> None:
    """`vars()` is what debuggers and serializers look at first."""
    with pytest.raises(TypeError):
        vars(Secret("a"))


def test_equal_configuration_makes_equal_apps() -> None:
    """A reload keeps the session of every app whose configuration is the same."""
    assert app() == app()
    assert app() != replace(app(), timing=Timing(at=0.4))
    assert hash(app()) == hash(app())


def test_a_configured_app_cannot_be_changed() -> None:
    """Tasks share the values: a change by one task would surprise the others."""
    with pytest.raises(FrozenInstanceError):
        app().name = "other"  # type: ignore[misc]  # the mistake under test


def test_defaults_are_the_documented_ones() -> None:
    """Operators rely on the configuration's defaults, and a file is private by default."""
    assert Timing() == Timing(0.5, 0.1, 1.0, 30.0, 1800.0, session_check=None, terminate_after=60.0)
    assert Timing().renew == "reauth"
    assert Endpoint("u") == Endpoint("u", timeout=20.0, proxy="", max_in_flight=32)
    assert Ownership().mode == 0o600
    assert (FileSpec(Path("f")).format, FileSpec(Path("f")).on_expiry) == ("raw", "keep")
