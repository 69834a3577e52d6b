"""Names in `access` are looked up once a second at most, off the loop, for a limited time."""

import asyncio
import threading

from refresherd.domain.access import Permitted
from refresherd.domain.model import Access
from refresherd.host.access_lookup import FRESH_SECONDS, AccessLookup
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock

ALICE = Access(users=("alice", "7"), groups=("8", "staff"), units=("a.service",))
NUMBERS = Permitted(frozenset({7}), frozenset({8}), frozenset({"a.service"}))
FOUND = Permitted(frozenset({7, 1000}), frozenset({8, 50}), frozenset({"a.service"}))


class Directory:
    """A directory service that counts its look-ups, and hangs or fails if told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = FOUND
        self.error: OSError | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def look_up(self, _: Access) -> Permitted:
        """Return whom any `access` names now."""
        self.asked += 1
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return self.answers


class Place:
    """A lookup with its clock, and the directory that it asks."""

    def __init__(self, patience: float = 10.0) -> None:
        self.clock = FakeClock()
        self.directory = Directory()
        self.executor = KeyedExecutor(idle_timeout=0.1)
        self.lookup = AccessLookup(
            self.executor, self.clock, patience=patience, look_up=self.directory.look_up
        )

    async def close(self) -> None:
        """Let the directory answer, and wait for the threads."""
        self.directory.go_on.set()
        await self.executor.drained()


async def test_names_are_looked_up_once_a_second() -> None:
    """However many ask; and a user or group that is created later counts a second later."""
    place = Place()
    assert place.lookup.known(ALICE) == NUMBERS
    assert await place.lookup.current(ALICE) == (FOUND, "")
    assert place.lookup.known(ALICE) == FOUND
    place.directory.answers = NUMBERS
    place.clock.advance(FRESH_SECONDS - 0.01)
    assert await place.lookup.current(ALICE) == (FOUND, "")
    assert place.directory.asked == 1
    place.clock.advance(0.01)
    assert place.lookup.known(ALICE) == NUMBERS
    assert await place.lookup.current(ALICE) == (NUMBERS, "")
    assert place.directory.asked == 2
    await place.close()


async def test_all_who_wait_share_a_lookup() -> None:
    """A thousand clients that connect at once ask the directory service one question."""
    place = Place()
    place.directory.go_on.clear()
    waiting = [asyncio.create_task(place.lookup.current(ALICE)) for _ in range(1000)]
    await asyncio.sleep(0)
    place.directory.go_on.set()
    assert set(await asyncio.gather(*waiting)) == {(FOUND, "")}
    assert place.directory.asked == 1
    await place.close()


async def test_one_who_leaves_stops_nobody_elses_lookup() -> None:
    """A client may close its connection at any time."""
    place = Place()
    place.directory.go_on.clear()
    leaving, staying = (asyncio.create_task(place.lookup.current(ALICE)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    place.directory.go_on.set()
    assert await staying == (FOUND, "")
    await place.close()


async def test_numbers_need_no_lookup() -> None:
    """They work even while the directory service hangs, and cost no thread."""
    place = Place()
    access = Access(users=("7",), groups=("8",), units=("a.service",))
    assert place.lookup.known(access) == NUMBERS
    place.clock.advance(1e6)
    assert await place.lookup.current(access) == (NUMBERS, "")
    assert place.directory.asked == 0


async def test_a_directory_service_that_hangs_is_named() -> None:
    """Users named by number or unit are served meanwhile, and nobody is told an untruth."""
    place = Place(patience=0.1)
    place.directory.go_on.clear()
    permitted, doubt = await place.lookup.current(ALICE)
    assert permitted == NUMBERS
    assert doubt == "looking up the users and groups of its access takes over 0.1 s"
    await place.close()
    assert await place.lookup.current(ALICE) == (FOUND, "")
    assert place.directory.asked == 1


async def test_a_service_that_hangs_costs_the_next_client_no_wait() -> None:
    """Once it has taken too long, those who come later need not find that out again."""
    place = Place(patience=5.0)
    place.directory.go_on.clear()
    first = asyncio.create_task(place.lookup.current(ALICE))
    await asyncio.sleep(0)
    place.clock.advance(5.0)
    async with asyncio.timeout(2):
        assert (await place.lookup.current(ALICE))[0] == NUMBERS
    place.directory.go_on.set()
    assert (await first)[0] == FOUND
    await place.close()


async def test_numbers_that_were_found_before_last_while_the_service_hangs() -> None:
    """An outage of the directory must not take tokens from those who have had them."""
    place = Place(patience=0.1)
    await place.lookup.current(ALICE)
    place.clock.advance(60)
    place.directory.go_on.clear()
    permitted, doubt = await place.lookup.current(ALICE)
    assert (permitted, doubt[:10]) == (FOUND, "looking up")
    await place.close()


async def test_a_lookup_that_fails_is_named_and_repeated() -> None:
    """Without descriptors the C library knows no name."""
    place = Place()
    place.directory.error = OSError(24, "Too many open files")
    permitted, doubt = await place.lookup.current(ALICE)
    assert permitted == NUMBERS
    assert doubt.endswith("access failed: Too many open files")
    place.directory.error = None
    assert await place.lookup.current(ALICE) == (FOUND, "")
    await place.close()


async def test_a_lookup_that_hangs_holds_up_no_other_app() -> None:
    """One app's users are in a directory that hangs, the other's in /etc/passwd."""
    place = Place(patience=0.1)
    go_on = threading.Event()

    def look_up(access: Access) -> Permitted:
        assert access.users != ("hanging",) or go_on.wait(10)
        return FOUND

    lookup = AccessLookup(place.executor, place.clock, look_up=look_up)
    hanging = asyncio.create_task(lookup.current(Access(users=("hanging",))))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await lookup.current(ALICE) == (FOUND, "")
    assert not hanging.done()
    go_on.set()
    await hanging
    await place.close()
