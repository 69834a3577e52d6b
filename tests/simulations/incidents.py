"""What can happen on a simulated host, as values: a plan of them is a story, and shrinks well."""

import asyncio
from dataclasses import dataclass, replace

from refresherd.domain.model import App, Endpoint, Timing
from simulations.model_host import Host
from simulations.troubles import Kind


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is the matter for so many seconds, with one app or with all."""

    kind: Kind
    seconds: float
    app: str = ""

    async def happen(self, host: Host) -> None:
        """Let it begin."""
        host.troubles.begin(self.kind, self.seconds, self.app)


@dataclass(frozen=True, slots=True)
class LogOut:
    """Somebody ends all sessions of an app, as a reset of its secret does."""

    app: str

    async def happen(self, host: Host) -> None:
        """End them."""
        host.troubles.begin(Kind.LOGGED_OUT, app=self.app)
        host.dsm.log_out(self.app)


@dataclass(frozen=True, slots=True)
class Suspend:
    """The machine sleeps for so many seconds."""

    seconds: float

    async def happen(self, host: Host) -> None:
        """Sleep, and wake up."""
        host.machine.suspend(self.seconds)
        host.troubles.begin(Kind.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody sets the wall clock, by so many seconds."""

    seconds: float

    async def happen(self, host: Host) -> None:
        """Set it."""
        host.troubles.begin(Kind.STEPPED)
        host.machine.step(self.seconds)


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is killed, or stopped with or without an end of its sessions; it is back soon."""

    end_sessions: bool = False
    seconds: float = 1.0

    async def happen(self, host: Host) -> None:
        """Stop it, wait, and start it."""
        host.troubles.begin(Kind.STARTED, self.seconds + 60)
        await host.stop(end_sessions=self.end_sessions)
        await asyncio.sleep(self.seconds)
        await host.start(host.apps)


@dataclass(frozen=True, slots=True)
class Refresh:
    """Somebody asks for an attempt now, for one app or for all of them."""

    app: str = ""

    async def happen(self, host: Host) -> None:
        """Ask."""
        host.troubles.begin(Kind.HASTENED, app=self.app)
        if not self.app:
            host.supervisor.refresh_all()
        elif (kept := host.supervisor.runner(self.app)) is not None:
            kept.refresh()


@dataclass(frozen=True, slots=True)
class Ask:
    """A consumer asks for a token that lives for a share of the usual lifetime, and waits a bit."""

    app: str
    share: float

    async def happen(self, host: Host) -> None:
        """Ask, and wait."""
        await host.ask(self.app, self.share * host.dsm.habits.lifetime, wait=5.0)


@dataclass(frozen=True, slots=True)
class Reload:
    """The configuration is changed: an app comes or goes, moves or is retuned, and all are read."""

    app: App
    goes: bool = False
    end_sessions: bool = False

    async def happen(self, host: Host) -> None:
        """Change it, and reload."""
        others = [app for app in host.apps if app.name != self.app.name]
        apps = others if self.goes else [*others, self.app]
        # A reload tries a refused credential again, whosever it is.
        host.troubles.begin(Kind.HASTENED)
        await host.reload(apps, end_sessions=self.end_sessions)


Incident = Trouble | LogOut | Suspend | Step | Restart | Refresh | Ask | Reload


def moved(app: App, url: str) -> App:
    """Return an app at another DSM, to which none of its tokens may get."""
    return replace(app, endpoint=Endpoint(url))


def retuned(app: App, timing: Timing) -> App:
    """Return an app under another timing."""
    return replace(app, timing=timing)
