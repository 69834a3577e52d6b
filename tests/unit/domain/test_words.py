"""The verdict on all apps, which the status page, the terminal and the demo begin with."""

import pytest

from refresherd.domain.session_state import State
from refresherd.domain.words import URGENCY, consequence, count, urgency, verdict


@pytest.mark.parametrize(
    ("apps", "troubled", "unready", "words"),
    [
        (0, 0, 0, "No app is configured"),
        (1, 0, 0, "The app is well"),
        (1, 1, 0, "The app is in trouble"),
        (1, 0, 1, "The app is not ready"),
        (12, 0, 0, "All 12 apps are well"),
        (12, 1, 1, "1 of 12 apps is in trouble"),
        (12, 2, 5, "2 of 12 apps are in trouble"),
        (12, 0, 1, "1 of 12 apps is not ready"),
        (12, 0, 2, "2 of 12 apps are not ready"),
    ],
)
def test_the_verdict_is_one_sentence(apps: int, troubled: int, unready: int, words: str) -> None:
    """Whoever looks for a second must know whether to look longer."""
    assert verdict(apps, troubled, unready) == words


@pytest.mark.parametrize(
    ("troubled", "lost", "unready", "words"),
    [
        (0, 0, 0, "Every app has a valid token, and every output holds it."),
        (0, 0, 2, ""),
        (3, 0, 0, "Consumers still have valid tokens."),
        (3, 1, 1, "Consumers of 1 app have no valid token."),
        (3, 2, 2, "Consumers of 2 apps have no valid token."),
    ],
)
def test_it_is_said_whether_consumers_suffer(
    troubled: int, lost: int, unready: int, words: str
) -> None:
    """It decides whether somebody acts now or in the morning."""
    assert consequence(troubled, lost, unready) == words


def test_every_state_has_its_place() -> None:
    """A state that is missing here would break the order of every picture."""
    assert set(URGENCY) == {state.value for state in State}
    places = [urgency(state, troubled=state == "fresh") for state in URGENCY]
    assert places == sorted(places)
    assert urgency("fresh", troubled=True) < urgency("fresh", troubled=False)
    assert urgency("fresh", troubled=False) <= urgency("of another version", troubled=False)


def test_one_is_not_many() -> None:
    """Sloppy grammar makes a newcomer doubt the numbers, too."""
    assert [count(number, "app") for number in (0, 1, 2)] == ["0 apps", "1 app", "2 apps"]
    assert count(2, "refresh", "es") == "2 refreshes"
