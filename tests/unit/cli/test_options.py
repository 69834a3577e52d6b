"""The types of option values, and how an invalid value is rejected."""

import argparse
import re
from signal import Signals

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.cli import options
from refresherd.cli.emulator import address
from refresherd.cli.exec import RESTART, refresh_action
from refresherd.config.app_settings import APP_NAME

REJECTED = argparse.ArgumentTypeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("2d", 172_800)],
)
def test_duration_is_written_as_in_the_configuration(text: str, expected: float) -> None:
    """Operators know the configuration's durations, and scripts compute plain seconds."""
    assert options.duration(text) == expected
    assert options.duration_or_zero(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "10 s", "5w", "1m30", "nan", "inf", "."])
def test_invalid_duration_is_rejected_with_an_example(text: str) -> None:
    """A typing error must not become a timeout that nobody meant."""
    with pytest.raises(
        REJECTED,
        match=r"is not a valid duration; write numbers with units \(d, h, m, s, ms, the largest ",
    ):
        options.duration_or_zero(text)


def test_zero_is_a_duration_only_where_it_makes_sense() -> None:
    """A timeout of 0 cannot be met; a minimum lifetime of 0 can."""
    assert options.duration_or_zero("0s") == 0.0
    with pytest.raises(REJECTED, match="is too short; write more than 0"):
        options.duration("0s")


@pytest.mark.parametrize("text", ["3651d", "9" * 400])
def test_duration_longer_than_the_system_allows_is_rejected(text: str) -> None:
    """An overflow deep in a system call would look like a bug."""
    with pytest.raises(REJECTED, match="3650d at most"):
        options.duration(text)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_rejected(text: str) -> None:
    """Argparse reports its own error only; any other would be a traceback."""
    try:
        assert 0 <= options.duration_or_zero(text) <= options.MAX_DURATION
    except argparse.ArgumentTypeError as error:
        assert text in str(error)  # noqa: PT017  # both outcomes are fine


@pytest.mark.parametrize("text", ["127.0.0.1:8443", "[::1]:0", "localhost:65535"])
def test_address_is_a_host_and_a_port(text: str) -> None:
    """The usual forms are accepted unchanged."""
    assert address(text) == text


@pytest.mark.parametrize("text", ["", ":1", "host", "host:", "host:http", "host:65536", "host:-1"])
def test_invalid_address_is_rejected_with_an_example(text: str) -> None:
    """The usual mistake is to leave out the port."""
    with pytest.raises(REJECTED, match="write HOST:PORT"):
        address(text)


def test_positive_number_starts_at_one() -> None:
    """An emulator with no app, or half of one, is of no use."""
    assert options.positive_number("3") == 3
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(REJECTED, match="write 1 or more"):
            options.positive_number(text)


@given(st.from_regex(re.compile(APP_NAME, re.ASCII), fullmatch=True))
def test_every_configurable_app_name_is_accepted(name: str) -> None:
    """The commands must be able to ask for every app that the daemon can have."""
    assert options.app_name(name) == name


@given(st.text(max_size=70))
def test_an_app_name_cannot_change_the_request(text: str) -> None:
    """`..`, a slash or a line break in the request's path would ask for something else."""
    try:
        name = options.app_name(text)
    except argparse.ArgumentTypeError:
        return
    assert re.fullmatch(APP_NAME, name, re.ASCII)


@pytest.mark.parametrize("text", ["HUP", "SIGHUP", "hup", "sighup"])
def test_signal_names_are_those_of_kill(text: str) -> None:
    """kill(1) accepts all of these spellings."""
    assert refresh_action(text) is Signals.SIGHUP


def test_restart_is_not_a_signal() -> None:
    """It is the only word that --on-refresh takes besides the signals' names."""
    assert refresh_action("restart") == RESTART


@pytest.mark.parametrize("text", ["KILL", "SIGSTOP", "RELOAD", "", "1"])
def test_signals_that_cannot_be_caught_are_rejected(text: str) -> None:
    """Nobody wants a refresh to kill the consumer."""
    with pytest.raises(REJECTED, match="neither restart nor a signal that can be caught"):
        refresh_action(text)
