"""What the demo says must be read at a glance, and must be right."""

import pytest

from refresherd.demo.changes import Change, Failed, Refreshed, Turned
from refresherd.demo.picture import Picture, Reads
from refresherd.demo.snapshot import AppView, Snapshot
from refresherd.demo.wording import ago, line, plural, span, summary


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (9.26, "9.3 s"),
        (100.0, "1m 40s"),
        (3599.9, "59m 59s"),
        (7500.0, "2h 05m"),
    ],
)
def test_times_are_short(seconds: float | None, words: str) -> None:
    """Tenths matter in the last seconds of a token, and nowhere else."""
    assert span(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(16.9, "16 s ago"), (100.0, "1m 40s ago")])
def test_what_is_past_has_no_tenths(seconds: float, words: str) -> None:
    """A number that changes all the time draws the eye, so it had better matter."""
    assert ago(seconds) == words


def test_one_is_not_many() -> None:
    """Sloppy grammar makes a newcomer doubt the numbers, too."""
    assert [plural(n, "app") for n in (0, 1, 2)] == ["0 apps", "1 app", "2 apps"]
    assert plural(2, "refresh", "refreshes") == "2 refreshes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            Refreshed("app-1", "auth", 1, left=20.0, next_in=9.5, at=0.0),
            "   3.2 s  app-1: token 1 by login, good for 20.0 s; next refresh in 9.5 s",
        ),
        (
            Refreshed("app-1", "reauth", 2, left=20.0, next_in=9.5, at=0.0),
            "   3.2 s  app-1: token 2 by reauth, good for 20.0 s; next refresh in 9.5 s",
        ),
        (
            Failed("app-1", "timeout", 1, left=8.0, next_in=1.5),
            "   3.2 s  app-1: failed (timeout), token still good for 8.0 s; next attempt in 1.5 s",
        ),
        (
            Failed("app-1", "rejected", 1, left=None, next_in=1800.0),
            "   3.2 s  app-1: failed (rejected), no valid token; next attempt in 30m 00s",
        ),
        (Turned("app-1", "fresh", "retrying"), "   3.2 s  app-1: fresh -> retrying"),
    ],
)
def test_each_change_is_a_line(change: Change, words: str) -> None:
    """Where there is no terminal, lines alone must tell the story."""
    assert line(3.21, change) == words


def test_the_summary_counts_everything() -> None:
    """Scripts and people look here for whether it worked."""
    snapshot = Snapshot(0.0, (AppView("app-1", generation=4, failures={("auth", "tls"): 2}),))
    assert summary(Picture("https://x", snapshot, reads=Reads(30, 1), elapsed=8.04)) == (
        "summary after 8.0 s\n"
        "  apps       1\n"
        "  refreshes  3\n"
        "  failures   2\n"
        "  reads      31 by the built-in consumer, 1 refused by DSM"
    )


def test_the_summary_names_who_never_got_a_token() -> None:
    """The exit status says that something is wrong; the summary has to say with whom."""
    snapshot = Snapshot(0.0, (AppView("app-1", generation=1), AppView("app-2"), AppView("app-3")))
    assert summary(Picture("https://x", snapshot)).endswith("\n  no token   app-2, app-3")
