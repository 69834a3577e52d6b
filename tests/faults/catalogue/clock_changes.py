"""Changes of a host's clocks, each around a daemon of its own, and what must hold then."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

from faults.rig.clock_host import AT, JITTER, Host, host, unix, until
from faults.rig.readers import Seen, judge, of_api, of_socket
from faults.rig.wall_clock import WallClock
from refresherd.host.clock import JUMP_SECONDS

HOUR = 3600.0
TEN_YEARS = 3652 * 24 * HOUR

LIFETIME = 10.0
"""Long enough that half of it outlasts the delays of a loaded machine."""

BETWEEN = 2.5
"""Seconds between two steps, so that each comes at another stage of a session's life."""

STEPS = (1.0, 0.0, HOUR, 0.0, TEN_YEARS, -TEN_YEARS, 0.0)
"""How far the daemon's clock is ahead of the host's, in seconds, one after the other."""

RATES = (0.5, 2.0)

RESUMED_WITHIN = 5.0
"""The promise: seconds from a resume until every overdue app has a new session."""

SHARED_SECONDS = 15.0
"""A busy daemon shares an answer for 5 seconds, and takes a while to make the next one."""

TOLERANCE = 4.0
"""Seconds that may pass between two clock readings that are compared, and rounding."""


async def stepped(directory: Path) -> None:
    """Set the wall clock by a second, an hour and ten years, forwards and backwards."""
    clock = WallClock(directory)
    async with host(directory, clock.wrapper, lifetime=LIFETIME) as changed:
        await changed.ready()
        began, issued = time.monotonic(), changed.issued()
        async with changed.read():
            for ahead in STEPS:
                clock.set(ahead)
                await asyncio.sleep(BETWEEN)
                await _agrees(changed, clock)
            _undisturbed(changed, began, issued)
        jumps = [jump["seconds"] for jump in changed.daemon.logged("clock jumped")]
        moved = [after - before for before, after in pairwise((0.0, *STEPS))]
        assert jumps == pytest.approx(moved, abs=JUMP_SECONDS)
        assert await changed.metric("clock_jumps_total", 'kind="step"') == [len(STEPS)]
        assert await changed.metric("clock_jumps_total", 'kind="suspend"') == [0]


async def drifting(directory: Path) -> None:
    """Run the wall clock at half its rate, and then at twice its rate."""
    clock = WallClock(directory)
    async with host(directory, clock.wrapper, lifetime=LIFETIME) as changed:
        await changed.ready()
        began, before = time.monotonic(), changed.issued()
        async with changed.read():
            for rate in RATES:
                await clock.drift(rate, 0.8 * LIFETIME)
                await _agrees(changed, clock)
            _undisturbed(changed, began, before)


async def since_1970(directory: Path) -> None:
    """Boot in 1970, as without a battery: no certificate is valid until the clock is set."""
    clock = WallClock(directory, ahead=60 - time.time())
    async with host(directory, clock.wrapper, lifetime=LIFETIME, tls=True) as changed:
        await until(lambda: len(changed.daemon.logged("refresh failed")) > 0)
        (failure, *_) = changed.daemon.logged("refresh failed")
        assert failure["ts"].startswith("1970-01-01T00:0")
        assert failure["reason"] == "tls"
        assert "not valid yet; is this host's clock right?" in failure["message"]
        assert not any(changed.issued().values())
        clock.set(0.0)
        await changed.ready()
        began, before = time.monotonic(), changed.issued()
        async with changed.read():
            await asyncio.sleep(0.8 * LIFETIME)
            await _agrees(changed, clock)
            _undisturbed(changed, began, before)
        assert await changed.metric("clock_jumps_total", 'kind="step"') == [1]


async def stopped(directory: Path) -> None:
    """Stop the process for longer than a session lives, as when a virtual machine is paused."""
    lifetime = LIFETIME / 2
    async with host(directory, apps=3, lifetime=lifetime) as changed:
        await changed.ready()
        changed.daemon.signal(signal.SIGSTOP)
        reads = [
            asyncio.ensure_future(read())
            for name in changed.apps
            for read in (
                of_socket(directory / f"{name}.sock"),
                of_api(changed.api, name),
            )
        ]
        await asyncio.sleep(lifetime + 0.5)
        assert not any(changed.dsm.sessions.live(app) for app in changed.apps.values())
        resumed, before = time.monotonic(), changed.issued()
        changed.daemon.signal(signal.SIGCONT)
        owners = [app for app in changed.apps.values() for _ in range(2)]
        answers = zip(owners, await asyncio.gather(*reads), strict=True)
        seen = {judge(answer, resumed, app, changed.dsm.sessions) for app, answer in answers}
        assert seen <= {Seen.GOOD, Seen.NONE}
        await until(
            lambda: all(count > before[name] for name, count in changed.issued().items()),
            RESUMED_WITHIN,
        )


async def elsewhere(directory: Path) -> None:
    """Run in a time namespace whose boot and monotonic clocks are years ahead and apart."""
    offsets = f"--boottime={2 * TEN_YEARS:.0f}", f"--monotonic={TEN_YEARS:.0f}"
    async with host(directory, ("unshare", "-T", *offsets), lifetime=LIFETIME) as changed:
        await changed.ready()
        began, before = time.monotonic(), changed.issued()
        async with changed.read():
            await asyncio.sleep(0.8 * LIFETIME)
            await _agrees(changed, None)
            _undisturbed(changed, began, before)
        assert changed.daemon.logged("clock jumped") == []


Change = Callable[[Path], Awaitable[None]]

CHANGES: Mapping[str, Change] = MappingProxyType(
    {change.__name__: change for change in (stepped, drifting, since_1970, stopped, elsewhere)}
)


def _undisturbed(changed: Host, began: float, before: Mapping[str, int]) -> None:
    """Assert that refreshes came when they were due, and that consumers noticed nothing."""
    most = (time.monotonic() - began) / (LIFETIME * (AT - JITTER)) + 2
    fewest = (time.monotonic() - began) // LIFETIME
    for name, count in changed.issued().items():
        assert fewest <= count - before[name] <= most
    assert changed.seen(Seen.EXPIRED, Seen.TORN, Seen.NONE, Seen.ERROR) == 0
    assert changed.seen(Seen.GOOD) > 0
    assert changed.daemon.logged("token expired", "app crashed", "bug") == []


async def _agrees(changed: Host, clock: WallClock | None) -> None:
    """Assert that all published times are soon on the wall clock as it is set now."""
    deadline = time.monotonic() + SHARED_SECONDS
    while not await _all_agree(changed, clock):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def _all_agree(changed: Host, clock: WallClock | None) -> bool:
    """Return whether all published times are on the wall clock."""
    status = await changed.status()
    expiries = await changed.metric("token_expiry_timestamp_seconds")
    assert len(expiries) == len(changed.apps)
    now = time.time() if clock is None else clock.now()
    expiries += [unix(one["expires_at"]) for one in status]
    issued = [unix(one["issued_at"]) for one in status]
    return all(
        now - TOLERANCE < expiry < now + LIFETIME + TOLERANCE for expiry in expiries
    ) and all(now - LIFETIME - TOLERANCE < at < now + TOLERANCE for at in issued)
