"""Clocks are set, drift and stand still around the installed daemon, all of it side by side."""

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
    """Let the changes happen that were asked for, and return what each of them broke."""
    needs(LIBRARIES, "libfaketime")
    needs_tool("unshare")
    needs_root()
    by_operator = {item.name for item in request.session.items}
    names = [
        name for name in CHANGES if f"test_a_change_of_clocks_goes_unnoticed[{name}]" in by_operator
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
    """Time is boot time: consumers have good tokens, and operators read the clock as it is set."""
    broken = outcomes[change]
    if broken is not None:
        raise broken
