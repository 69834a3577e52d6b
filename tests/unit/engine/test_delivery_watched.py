"""An output that somebody else alters: restored, at a bounded pace, and discarded when dropped."""

from refresherd.domain import readiness, session_state
from refresherd.domain.errors import OutputError, SessionLost
from refresherd.domain.events import OutputAltered, OutputFailed, OutputUnchanged, OutputWritten
from refresherd.domain.model import Instant, Timing, Token
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.engine.delivery import FORGIVEN_AFTER, WatchedDelivery
from refresherd.engine.ports import Alteration, PutReport
from support.fake_app import FakeApp
from support.fakes import FakeOutput, grants

PATH = "/run/payments.token"
REMOVED = Alteration(None, "somebody removed it")


class Reporting(FakeOutput):
    """An output that has something to say of each token."""

    def __init__(self, report: PutReport) -> None:
        super().__init__(PATH)
        self.report = report

    async def put(self, token: Token) -> PutReport:  # type: ignore[override]  # tells more
        """Hold the token, and say it."""
        await super().put(token)
        return self.report


async def delivered(output: FakeOutput) -> tuple[FakeApp, WatchedDelivery]:
    """Return an app that has a token, and its delivery, which has brought it to the output."""
    fake_app = FakeApp()
    fake_app.rng = 0.999999
    session, grant = fake_app.session, next(grants(lifetime=1e6))
    granted = session_state.granted(session, grant, fake_app.clock.now(), Timing(), 0.0)
    fake_app.cell.publish(granted)
    delivery = WatchedDelivery(fake_app.running_app, output)
    await delivery.work()
    return fake_app, delivery


async def test_an_altered_output_is_made_good_at_once() -> None:
    """Consumers must not wait for the next refresh, half a token's life away."""
    output = FakeOutput(PATH)
    fake_app, delivery = await delivered(output)
    assert delivery.altered(REMOVED)
    assert delivery.due_at <= fake_app.clock.now()
    assert delivery.status == OutputStatus(PATH, error="somebody removed it")
    status = AppStatus("payments", fake_app.session, (delivery.status,))
    assert readiness.reasons(status, fake_app.clock.now()) == (
        f"{PATH} does not hold the newest token: somebody removed it",
    )
    await delivery.work()
    assert delivery.status.holds == fake_app.session.token
    assert delivery.status.error == ""
    assert output.puts == 2
    assert fake_app.observer.of(OutputAltered) == [
        OutputAltered("payments", PATH, "somebody removed it", 0.0)
    ]


async def test_a_fight_for_a_path_slows_down_and_is_forgiven_when_it_is_over() -> None:
    """Two daemons that write one file must not do so thousands of times an hour."""
    fake_app, delivery = await delivered(FakeOutput(PATH))
    for _ in range(11):
        delivery.altered(REMOVED)
        fake_app.clock.set(max(delivery.due_at, fake_app.clock.now()))
        await delivery.work()
    fake_app.clock.advance(FORGIVEN_AFTER)
    delivery.altered(REMOVED)
    pauses = [round(altered.retry_in) for altered in fake_app.observer.of(OutputAltered)]
    assert pauses == [0, 4, 4, 4, 4, 8, 16, 32, 60, 60, 60, 0]


async def test_a_dead_token_that_comes_back_is_removed_again() -> None:
    """A backup that is restored, for example: consumers must not try a token that DSM ended."""
    output = FakeOutput(PATH)
    fake_app, delivery = await delivered(output)
    now, lost = fake_app.clock.now(), SessionLost("gone")
    fake_app.cell.publish(session_state.failed(fake_app.session, lost, now, Timing(), 0.0))
    await delivery.work()
    delivery.altered(Alteration(None, "somebody put a file there again"))
    await delivery.work()
    assert output.removes == 2
    assert output.holds is None


async def test_an_alteration_of_no_consequence_changes_nothing() -> None:
    """The output was written while somebody looked at it, for example."""
    fake_app, delivery = await delivered(FakeOutput(PATH))
    assert not delivery.altered(Alteration(None, ""))
    assert delivery.status.holds == fake_app.session.token
    assert delivery.due_at > fake_app.clock.now()
    assert fake_app.observer.of(OutputAltered) == []


async def test_an_output_that_holds_the_token_already_counts_as_brought_up_to_date() -> None:
    """Nothing was written, so no write is counted, but consumers have the newest token."""
    fake_app, delivery = await delivered(Reporting(PutReport(unchanged=True)))
    assert delivery.status == OutputStatus(PATH, fake_app.session.token, "", Instant(1000))
    assert fake_app.observer.of(OutputWritten) == []
    assert fake_app.observer.of(OutputUnchanged) == [OutputUnchanged("payments", PATH, 1)]


async def test_an_alteration_that_a_refresh_made_good_is_reported() -> None:
    """Otherwise whoever does that goes unseen where tokens are short-lived."""
    report = PutReport(altered="somebody overwrote it")
    fake_app, delivery = await delivered(Reporting(report))
    assert delivery.status.holds == fake_app.session.token
    assert delivery.status.error == ""
    assert fake_app.observer.of(OutputAltered) == [
        OutputAltered("payments", PATH, "somebody overwrote it", 0.0)
    ]


async def test_an_output_that_cannot_be_discarded_is_reported() -> None:
    """A live token stays behind: an operator has to remove it."""
    full = OutputError("the disk is read-only")
    output = FakeOutput(PATH, [None, None, full])
    fake_app, delivery = await delivered(output)
    await delivery.discard()
    assert fake_app.observer.of(OutputFailed) == [
        OutputFailed("payments", PATH, "the disk is read-only", 0.0)
    ]
