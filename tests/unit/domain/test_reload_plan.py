"""A reload does to each app no more than its change needs."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.model import ApiKeyFile, App, Endpoint, FileSpec, Method, Timing
from refresherd.domain.reload_plan import ReloadPlan, diff

PAYMENTS = App("payments", Endpoint("https://dsm.example"), ApiKeyFile(Path("/k/payments.key")))
BILLING = App("billing", Endpoint("https://dsm.example"), ApiKeyFile(Path("/k/billing.key")))

apps = st.builds(
    App,
    name=st.sampled_from(["a", "b", "c"]),
    endpoint=st.builds(
        Endpoint,
        url=st.sampled_from(["https://one.example", "https://two.example"]),
        timeout=st.sampled_from([5.0, 20.0]),
    ),
    credential=st.builds(ApiKeyFile, st.sampled_from([Path("/k/1"), Path("/k/2")])),
    timing=st.builds(Timing, at=st.sampled_from([0.3, 0.5])),
    bind_to=st.sampled_from(["", "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"]),
)
configurations = st.lists(apps, unique_by=lambda app: app.name)


def test_the_same_apps_are_left_alone() -> None:
    """A change of another app must not cost this one a login."""
    assert diff([PAYMENTS, BILLING], [BILLING, PAYMENTS]) == ReloadPlan()


def test_apps_come_and_go() -> None:
    """Adding one app and removing another concerns those two only."""
    assert diff([PAYMENTS], [BILLING]) == ReloadPlan(start=(BILLING,), stop=("payments",))


@pytest.mark.parametrize(
    "changed",
    [
        replace(PAYMENTS, timing=Timing(at=0.3)),
        replace(PAYMENTS, timing=Timing(renew=Method.KEEPALIVE)),
        replace(PAYMENTS, files=(FileSpec(Path("/run/payments.token")),)),
        replace(PAYMENTS, endpoint=replace(PAYMENTS.endpoint, ca_file=Path("/k/ca.pem"))),
        replace(PAYMENTS, endpoint=replace(PAYMENTS.endpoint, timeout=5.0, proxy="http://p:1")),
    ],
)
def test_an_app_that_needs_no_new_session_keeps_its_own(changed: App) -> None:
    """Timing, outputs and the way to DSM change nothing about whose session it is."""
    assert diff([PAYMENTS], [changed]) == ReloadPlan(retune=(changed,))


@pytest.mark.parametrize(
    "changed",
    [
        replace(PAYMENTS, endpoint=Endpoint("https://other.example")),
        replace(PAYMENTS, credential=BILLING.credential),
        replace(PAYMENTS, bind_to="0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"),
    ],
)
def test_a_token_never_gets_to_another_server_or_app(changed: App) -> None:
    """The old session's token must not be handed out as the new app's."""
    assert diff([PAYMENTS], [changed]) == ReloadPlan(restart=(changed,))


@given(configurations, configurations)
def test_a_plan_leads_from_the_old_to_the_new(old: list[App], new: list[App]) -> None:
    """Whatever changes, every app is dealt with in exactly one way."""
    plan = diff(old, new)
    kept = {app.name: app for app in old if app.name not in plan.stop}
    kept |= {app.name: app for app in (*plan.start, *plan.restart, *plan.retune)}
    assert kept == {app.name: app for app in new}
    named = [*plan.stop, *(app.name for app in (*plan.start, *plan.restart, *plan.retune))]
    assert len(named) == len(set(named))
