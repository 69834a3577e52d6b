"""A daemon for the tests of its HTTP, started once: they only ask it."""

from collections.abc import Iterator

import pytest

from support.http_doors import Daemon, Door, http_daemon


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """Run the installed daemon; whatever the tests send, it must log no traceback."""
    with http_daemon() as started:
        yield started
        log = started.log.read_text()
    assert "Traceback" not in log
    assert "a request failed" not in log


@pytest.fixture(scope="session", params=["api", "http"])
def door(request: pytest.FixtureRequest, daemon: Daemon) -> Door:
    """Return each way in that reads HTTP by itself, one after the other."""
    found: Door = getattr(daemon, request.param)
    return found
