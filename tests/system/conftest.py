"""One machine for all tests; each test finds a fresh refresherd on it."""

from collections.abc import Iterator

import pytest

from support.systemd_host import Host, cleared, running_host


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Boot a host with a DSM."""
    with running_host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def host(machine: Host) -> Iterator[Host]:
    """Return the host with the units installed and nothing configured; clean up afterwards."""
    yield machine
    cleared(machine)
