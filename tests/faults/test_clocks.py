"""Clocks are set, drift and stop around the installed daemon, side by side."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from faults.catalogue.clock_changes import CHANGES, Change
from faults.rig.wall_clock import LIBRARIES
from support.lab import needs, needs_root, needs_tool


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, BaseException | None]:
    """Let the changes of the selected tests happen; return what each of them broke."""
    needs(LIBRARIES, "libfaketime")
    needs_tool("unshare")
    needs_root()
    test_names = {item.name for item in request.session.items}
    names = [
        name for name in CHANGES if f"test_a_change_of_clocks_goes_unnoticed[{name}]" in test_names
    ]
    return asyncio.run(_all({n: CHANGES[n] for n in names}, tmp_path_factory.mktemp("clocks")))


async def _all(changes: Mapping[str, Change], place: Path) -> Mapping[str, BaseException | None]:
    directories = [place / name for name in changes]
    for directory in directories:
        directory.mkdir()
    runs = (change(place / name) for name, change in changes.items())
    found = await asyncio.gather(*runs, return_exceptions=True)
    return dict(zip(changes, found, strict=True))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_clocks_goes_unnoticed(
    change: str, outcomes: Mapping[str, BaseException | None]
) -> None:
    """Consumers have valid tokens, and operators read times on the clock as it is set now."""
    broken = outcomes[change]
    if broken is not None:
        raise broken
