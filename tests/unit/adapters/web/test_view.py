"""Which apps the status page shows: whatever the query, never an error."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.web.view import MAX_SEARCHED, TROUBLED, Sort, View
from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import SessionState, State
from support.fakes import grants

NOW = Instant(1000)
TIMING = Timing()
STARTING = session_state.begin(NOW)
GRANT = next(grants())
FRESH = session_state.granted(STARTING, GRANT, NOW, TIMING, 0.0)
LATER = session_state.granted(STARTING, GRANT, Instant(NOW + 60), TIMING, 0.0)
DOWN = Retryable(Reason.CONNECT, "Connection refused by dsm-7")


def app(name: str, session: SessionState, *outputs: OutputStatus) -> AppReport:
    """Return an app's report."""
    configured = App(name, Endpoint(f"https://{name}.dsm.example"), ApiKeyFile(Path("key")))
    return AppReport(configured, AppStatus(name, session, outputs))


APPS = (
    app("payments", FRESH),
    app("audit", session_state.failed(FRESH, DOWN, NOW, TIMING, 0.0)),
    app("ledger", LATER, OutputStatus("/run/ledger.token", None, "No space left on device")),
    app(
        "orders",
        session_state.failed(STARTING, Rejected(Reason.REJECTED, "no"), NOW, TIMING, 0.0),
    ),
)


def names(query: str) -> list[str]:
    """Return the names of the apps that a query shows, in order."""
    return [one.status.name for one in View.parse(query).choose(APPS)]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "orders audit ledger payments"),
        ("sort=name", "audit ledger orders payments"),
        ("sort=expiry", "orders audit payments ledger"),
        ("sort=nonsense", "orders audit ledger payments"),
        ("state=fresh", "ledger payments"),
        ("state=rejected", "orders"),
        ("state=troubled", "orders audit ledger"),
        ("state=nonsense", "orders audit ledger payments"),
        ("q=LEDG", "ledger"),
        ("q=no+space+left", "ledger"),
        ("q=refused", "audit"),
        ("q=audit.dsm", "audit"),
        ("q=%20", "orders audit ledger payments"),
        ("q=e&state=fresh&sort=name", "ledger payments"),
        ("q=nothing", ""),
    ],
)
def test_apps_are_found_and_sorted(query: str, shown: str) -> None:
    """Among a thousand apps an operator looks for a name, a path, an endpoint or an error."""
    assert names(query) == shown.split()


ODD = ("page=", "page=0", "page=-1", "page=9999999", "q=" * 50, "q=1&" * 50)


@given(st.text() | st.sampled_from(ODD))
def test_any_query_is_understood_or_ignored(query: str) -> None:
    """A link that was cut short, or a probe, must get a page, and never a traceback."""
    view = View.parse(quote(query, safe="=&+%"))
    assert len(view.q) <= MAX_SEARCHED
    assert view.state in {"", TROUBLED, *State}
    assert all(one in APPS for one in view.choose(APPS))


VIEWS = st.builds(
    View,
    q=st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.strip),
    state=st.sampled_from(["", TROUBLED, *(state.value for state in State)]),
    sort=st.sampled_from(Sort),
    page=st.integers(1, 999_999),
)


@given(VIEWS)
def test_a_link_leads_to_its_view(view: View) -> None:
    """Somebody sends a colleague the address, who must see the same."""
    assert View.parse(view.link().partition("?")[2]) == view


def test_a_link_changes_one_thing() -> None:
    """Turning the page must not lose the search."""
    view = View(q="a&b", state="fresh")
    assert View.parse(view.link(page=2).partition("?")[2]) == replace(view, page=2)
    assert View().link() == "/"
