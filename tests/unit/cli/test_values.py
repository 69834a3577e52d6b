"""What options take, and how a value that is none is refused."""

import argparse
import re
from signal import Signals

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli import values
from refresherd.config.tables import APP_NAME

REFUSED = argparse.ArgumentTypeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("2d", 172_800)],
)
def test_a_time_is_written_as_in_the_configuration(text: str, expected: float) -> None:
    """Operators know the configuration's durations, and scripts compute plain seconds."""
    assert values.seconds(text) == expected
    assert values.seconds_or_none(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "10 s", "5w", "1m30", "nan", "inf", "."])
def test_what_is_no_time_is_refused_with_one_that_is(text: str) -> None:
    """A slip must not become a timeout that nobody meant."""
    with pytest.raises(REFUSED, match="write one such as 90s, 10m or 500ms"):
        values.seconds_or_none(text)


def test_no_time_at_all_is_one_only_where_that_means_something() -> None:
    """A timeout of nothing can't be met; a least lifetime of nothing can."""
    assert values.seconds_or_none("0s") == 0.0
    with pytest.raises(REFUSED, match="is no time"):
        values.seconds("0s")


@pytest.mark.parametrize("text", ["3651d", "9" * 400])
def test_a_time_longer_than_the_system_takes_is_refused(text: str) -> None:
    """An overflow deep in a system call would look like a bug."""
    with pytest.raises(REFUSED, match="3650d at most"):
        values.seconds(text)


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Argparse tells of its own error only; any other would be a traceback."""
    try:
        assert 0 <= values.seconds_or_none(text) <= values.LONGEST
    except argparse.ArgumentTypeError as error:
        assert text in str(error)  # noqa: PT017  # both outcomes are fine


@pytest.mark.parametrize("text", ["127.0.0.1:8443", "[::1]:0", "localhost:65535"])
def test_an_address_is_a_host_and_a_port(text: str) -> None:
    """The usual forms are taken as they are."""
    assert values.address(text) == text


@pytest.mark.parametrize("text", ["", ":1", "host", "host:", "host:http", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused_with_one_that_is(text: str) -> None:
    """Whoever forgets the port learns how it is written."""
    with pytest.raises(REFUSED, match="write HOST:PORT"):
        values.address(text)


def test_a_count_starts_at_one() -> None:
    """An emulator without an app, or with half a one, is of no use."""
    assert values.count("3") == 3
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(REFUSED, match="from 1 up"):
            values.count(text)


@given(st.from_regex(re.compile(APP_NAME, re.ASCII), fullmatch=True))
def test_every_name_that_may_be_configured_may_be_asked_for(name: str) -> None:
    """An app that the daemon keeps and the commands refuse could not be served."""
    assert values.app_name(name) == name


@given(st.text(max_size=70))
def test_a_name_never_changes_the_request_that_it_stands_in(text: str) -> None:
    """`..`, a slash or a line break in a request's path would ask for something else."""
    try:
        name = values.app_name(text)
    except argparse.ArgumentTypeError:
        return
    assert re.fullmatch(APP_NAME, name, re.ASCII)


@pytest.mark.parametrize("text", ["HUP", "SIGHUP", "hup", "sighup"])
def test_a_signal_is_named_in_any_of_the_usual_ways(text: str) -> None:
    """kill(1) takes them all."""
    assert values.reaction(text) is Signals.SIGHUP


def test_a_restart_is_no_signal() -> None:
    """It is the one word that is not a signal's name."""
    assert values.reaction("restart") == values.RESTART


@pytest.mark.parametrize("text", ["KILL", "SIGSTOP", "RELOAD", "", "1"])
def test_what_a_program_cannot_react_to_is_refused(text: str) -> None:
    """A token's refresh that kills its consumer is hardly meant."""
    with pytest.raises(REFUSED, match="write restart, HUP or USR1"):
        values.reaction(text)
