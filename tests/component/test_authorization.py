"""Who may have a token, decided about real processes at the end of real sockets."""

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.domain.access import Permitted
from refresherd.domain.errors import Denied, RefresherdError, Undecided
from refresherd.domain.events import AccessDenied, AccessUndecided
from refresherd.domain.model import Access, App
from refresherd.host.access_lookup import AccessLookup
from refresherd.host.accounts import resolve
from refresherd.host.authorization import Authorizer, Client
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.peers import Kernel
from support.fake_app import FakeApp
from support.fakes import FakeClock, RecordingObserver
from support.other_users import AS_ROOT, caller, open_to_all, unit_group

pytestmark = AS_ROOT

UID, GID = "1234", "5678"
UNIT = "refresherd-authorization.service"
UNKNOWN_OPTION = 9999
"""A socket option that this kernel lacks, as older ones lack those for groups and pidfds."""


class Place:
    """An authorizer, and what it asks and reports."""

    def __init__(self) -> None:
        self.executor = KeyedExecutor(idle_timeout=0.1)
        self.observer = RecordingObserver()
        self.clock = FakeClock()
        self.directory = threading.Event()
        """Set while the directory service answers."""
        self.directory.set()
        self.lookups = 0

    def authorizer(
        self, kernel: Kernel | None = None, *, units: bool = True, own_uid: int | None = None
    ) -> Authorizer:
        """Return an authorizer for a host with this kernel."""
        lookup = AccessLookup(self.executor, self.clock, patience=0.1, look_up=self._look_up)
        return Authorizer(
            lookup,
            self.executor,
            self.observer,
            lambda: units,
            kernel=kernel or Kernel(),
            own_uid=own_uid,
        )

    def _look_up(self, access: Access) -> Permitted:
        self.lookups += 1
        assert self.directory.wait(10)
        return resolve(access)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Return a place, and wait for its threads afterwards."""
    place = Place()
    yield place
    place.directory.set()
    await place.executor.drained()


def app(**access: tuple[str, ...]) -> App:
    """Return an app with this access."""
    return replace(FakeApp().app, name="payments", access=Access(**access))


@contextmanager
def client(
    authorizer: Authorizer,
    uid: str = UID,
    gid: str = GID,
    groups: str = "",
    unit: Path | None = None,
) -> Iterator[Client]:
    """Yield the client that a process of another user is."""
    with (
        open_to_all() as listening,
        caller(listening, uid, gid, groups) as (connection, process),
    ):
        if unit is not None:
            (unit / "cgroup.procs").write_text(str(process.pid))
        yield authorizer.client(connection, "api")


@pytest.fixture
def unit() -> Iterator[Path]:
    """Make a control group as systemd does for a unit."""
    with unit_group(UNIT) as unit:
        yield unit


async def denied(authorizer: Authorizer, client: Client, app: App) -> str:
    """Return the words with which a client is denied."""
    assert not authorizer.granted(client, app)
    with pytest.raises(Denied) as found:
        await authorizer.demand(client, app)
    return str(found.value)


async def undecided(authorizer: Authorizer, client: Client, app: App) -> str:
    """Return the words with which a client is put off."""
    with pytest.raises(Undecided) as found:
        await authorizer.demand(client, app)
    assert found.value.retry_after >= 1
    return str(found.value)


@pytest.mark.parametrize(
    "named", [app(users=(UID,)), app(groups=(GID,)), app(groups=("7",)), app(groups=("9", "8"))]
)
async def test_users_and_groups_are_granted_without_a_wait(place: Place, named: App) -> None:
    """Numbers and groups cost a system call, so the event loop need not wait for anything."""
    authorizer = place.authorizer(units=False)
    with client(authorizer, groups="7,8") as asking:
        assert authorizer.granted(asking, named)
        await authorizer.demand(asking, named)
    assert place.lookups == 0


async def test_a_grant_lasts_until_the_access_changes(place: Place) -> None:
    """A reload takes it away at once."""
    authorizer = place.authorizer()
    with client(authorizer) as asking:
        assert authorizer.granted(asking, app(users=(UID,)))
        assert not authorizer.granted(asking, app(users=("7",)))
        assert not authorizer.granted(
            asking, replace(app(users=(UID,)), name="other", access=Access())
        )


async def test_the_operator_needs_no_access(place: Place) -> None:
    """Root and the daemon's user, whatever the app says."""
    authorizer = place.authorizer(own_uid=int(UID))
    for uid in ("0", UID):
        with client(authorizer, uid) as asking:
            assert authorizer.is_operator(asking.peer)
            assert authorizer.granted(asking, app())
    with client(authorizer, "4321") as asking:
        assert not authorizer.is_operator(asking.peer)
        assert "may not read" in await denied(authorizer, asking, app())


async def test_a_denial_is_reported(place: Place) -> None:
    """The log names the process, and its unit if the app names units."""
    authorizer = place.authorizer()
    with client(authorizer) as asking:
        words = await denied(authorizer, asking, app(users=("7",), units=("a.service",)))
        assert words == 'you may not read or refresh the token of "payments"'
        (event,) = place.observer.of(AccessDenied)
        assert (event.app, event.socket, event.uid, event.gid) == ("payments", "api", 1234, 5678)


async def test_a_unit_is_looked_up_where_the_app_names_units(place: Place, unit: Path) -> None:
    """With /proc in sight or hidden, on any kernel; and it is looked up once."""
    for kernel in (
        Kernel(),
        Kernel(pidfd_option=UNKNOWN_OPTION),
        Kernel(groups_option=UNKNOWN_OPTION),
    ):
        authorizer = place.authorizer(kernel)
        with client(authorizer, unit=unit) as asking:
            named = app(users=("7",), groups=("8",), units=("a.service", UNIT))
            assert not authorizer.granted(asking, named)
            await authorizer.demand(asking, named)
            assert authorizer.granted(asking, named)
            assert asking.peer.unit == UNIT
            await denied(authorizer, asking, app(units=("a.service",)))


async def test_a_unit_is_found_where_proc_is_hidden(
    place: Place, unit: Path, tmp_path: Path
) -> None:
    """As in the shipped unit; of other units than the named ones nothing is known."""
    authorizer = place.authorizer(Kernel(proc=tmp_path))
    with client(authorizer, unit=unit) as asking:
        await denied(authorizer, asking, app(units=("a.service",)))
        await authorizer.demand(asking, app(units=(UNIT,)))


async def test_asking_again_and_again_costs_one_look_up_a_second(
    place: Place, unit: Path, tmp_path: Path
) -> None:
    """A client that is denied may send thousands of requests; a moved process is found later."""
    authorizer = place.authorizer(Kernel(proc=tmp_path))
    named = app(units=(UNIT,))
    with open_to_all() as listening, caller(listening, UID, GID) as (connection, process):
        asking = authorizer.client(connection, "api")
        await denied(authorizer, asking, named)
        (unit / "cgroup.procs").write_text(str(process.pid))
        place.clock.advance(0.9)
        await denied(authorizer, asking, named)
        place.clock.advance(0.1)
        await authorizer.demand(asking, named)
        for number in range(200):
            await denied(authorizer, asking, app(units=(f"a{number}.service",)))
        assert len(asking.not_in) < 100


async def test_nobody_pays_for_units_that_need_none(place: Place, unit: Path) -> None:
    """On older kernels each connection would hold a descriptor."""
    older = Kernel(pidfd_option=UNKNOWN_OPTION)
    authorizer = place.authorizer(older, units=False)
    with client(authorizer, unit=unit) as asking:
        assert asking.process is None
        assert "connect again" in await undecided(authorizer, asking, app(units=(UNIT,)))
    with client(place.authorizer(older)) as asking:
        assert asking.process is not None
    with client(place.authorizer(older), "0") as asking:
        assert asking.process is None


async def test_a_unit_that_takes_too_long_to_find_is_no_denial(
    place: Place, tmp_path: Path
) -> None:
    """A unit's user may make any number of groups below it."""
    (tmp_path / "cgroup.procs").write_text("")
    for number in range(2100):
        (tmp_path / "system.slice" / "a.service" / str(number)).mkdir(parents=True)
    authorizer = place.authorizer(Kernel(proc=tmp_path, cgroup_roots=(tmp_path,)))
    with client(authorizer) as asking:
        words = await undecided(authorizer, asking, app(units=("a.service",)))
        assert words == (
            'cannot tell whether you may have the token of "payments": '
            "the units that access names have too many control groups"
        )
        (event,) = place.observer.of(AccessUndecided)
        assert (event.app, event.socket, event.uid) == ("payments", "api", 1234)
        assert "too many control groups" in event.message
        assert "may not" in await denied(authorizer, asking, app(units=("b.service",)))


async def test_groups_that_the_kernel_does_not_tell_come_from_proc(
    place: Place, tmp_path: Path, unit: Path
) -> None:
    """On older kernels; and where /proc is hidden as well, nobody is told an untruth."""
    older = Kernel(groups_option=UNKNOWN_OPTION)
    authorizer = place.authorizer(older)
    with client(authorizer, groups="7") as asking:
        await authorizer.demand(asking, app(groups=("7",)))
        await denied(authorizer, asking, app(groups=("9",)))
    authorizer = place.authorizer(replace(older, proc=tmp_path))
    with client(authorizer, groups="7", unit=unit) as asking:
        assert "your groups" in await undecided(authorizer, asking, app(groups=("7",)))
        await authorizer.demand(asking, app(users=(UID,), groups=("7",)))
        await authorizer.demand(asking, app(groups=("7",), units=(UNIT,)))


async def test_a_directory_that_hangs_denies_nobody(place: Place, unit: Path) -> None:
    """A user whom only the directory knows gets "try again", and no untrue 403."""
    place.directory.clear()
    authorizer = place.authorizer()
    names: dict[str, tuple[str, ...]] = {"users": ("somebody", "77"), "groups": ("staff",)}
    with client(authorizer, unit=unit) as asking:
        words = await undecided(authorizer, asking, app(**names))
        assert words.endswith("looking up the users and groups of its access takes over 0.1 s")
        await authorizer.demand(asking, app(**names, units=(UNIT,)))
    with client(authorizer, "77") as asking:
        assert authorizer.granted(asking, app(**names))


async def test_a_user_that_cannot_be_told_from_others_is_denied(
    place: Place, tmp_path: Path
) -> None:
    """In a user namespace, 65534 stands for all who have no number there, and for nobody too."""
    (tmp_path / "self").mkdir()
    for table in ("uid_map", "gid_map"):
        (tmp_path / "self" / table).write_text("         0     100000      65536\n")
    authorizer = place.authorizer(Kernel(proc=tmp_path), own_uid=65534)
    with client(authorizer, "65534") as asking:
        assert not authorizer.is_operator(asking.peer)
        words = await denied(authorizer, asking, app(users=("65534",)))
        assert words.startswith('you may not read or refresh the token of "payments": the daemon')
        assert "as uid 65534, which in its user namespace stands for every user without" in words
        (event,) = place.observer.of(AccessDenied)
        assert "uid 65534" in event.message
    for gid, groups in ("65534", "7"), ("7", "65534"):
        with client(authorizer, UID, gid, groups) as asking:
            words = await denied(authorizer, asking, app(groups=("65534",)))
            assert words == 'you may not read or refresh the token of "payments"'
            assert authorizer.granted(asking, app(groups=("7",)))


async def test_a_process_of_another_pid_namespace_is_denied(place: Place) -> None:
    """Its pid is 0 here, like that of all others there."""
    authorizer = place.authorizer()
    with client(authorizer) as asking:
        asking.peer = replace(asking.peer, pid=0)
        assert "another PID namespace" in await denied(authorizer, asking, app(users=(UID,)))


async def test_a_client_that_has_left_is_no_trouble(place: Place) -> None:
    """It may close its connection while it is looked up."""
    authorizer = place.authorizer()
    ours, other = socket.socketpair()
    with other:
        asking = authorizer.client(ours, "api")
        asking.peer = replace(asking.peer, uid=1234)
        ours.close()
        assert not authorizer.granted(asking, app(groups=("7",)))
        with pytest.raises(RefresherdError):
            await authorizer.demand(asking, app(groups=(str(os.getgid() + 1),), units=("a.b",)))
