"""Who got which app's token: the latest few, whoever tries to fill the memory."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.model import Instant
from refresherd.domain.report import Consumer
from refresherd.engine.consumers import MAX_CONSUMERS, Consumers

ASKED = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["", "a.service"])), max_size=60)


class Names:
    """Names that are known as soon as they are asked for."""

    def __init__(self) -> None:
        self.learnt: list[int] = []

    def learn(self, uid: int) -> None:
        """Take note of the request."""
        self.learnt.append(uid)

    def name(self, uid: int) -> str:
        """Return a name for every user that was learnt."""
        return f"user-{uid}" if uid in self.learnt else ""


def test_a_consumer_is_shown_with_its_name_and_its_last_time() -> None:
    """An operator asks who uses a token before it is ended."""
    consumers = Consumers(Names())
    for second in (1, 5, 3):
        consumers.record("payments", 33, "web.service", Instant(second))
    consumers.record("payments", 1000, "", Instant(4))
    assert consumers.of("payments") == (
        Consumer(1000, "user-1000", "", Instant(4)),
        Consumer(33, "user-33", "web.service", Instant(3)),
    )
    assert consumers.of("ledger") == ()


def test_a_name_is_looked_up_once() -> None:
    """A consumer asks ten thousand times a second, and a directory service must not hear of it."""
    names = Names()
    consumers = Consumers(names)
    for second in range(100):
        consumers.record("payments", 33, "", Instant(second))
    assert names.learnt == [33]


def test_an_app_that_is_gone_is_forgotten() -> None:
    """A new app of the same name has other consumers."""
    consumers = Consumers()
    consumers.record("payments", 33, "", Instant(1))
    consumers.forget("payments")
    consumers.forget("payments")
    assert consumers.of("payments") == ()


@given(ASKED)
def test_only_the_latest_are_remembered(asked: list[tuple[int, str]]) -> None:
    """A user with many units must not fill the memory, nor hide who came last."""
    consumers = Consumers()
    for second, (uid, unit) in enumerate(asked):
        consumers.record("payments", uid, unit, Instant(second))
    latest = list(dict.fromkeys(reversed(asked)))[:MAX_CONSUMERS]
    assert [(one.uid, one.unit) for one in consumers.of("payments")] == latest
