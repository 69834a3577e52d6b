"""What can happen on a simulated host, as values: plans made of them shrink well."""

import asyncio
from dataclasses import dataclass, replace

from refresherd.domain.model import App, Endpoint, Timing
from simulations.model_host import Host
from simulations.troubles import Kind


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble that lasts some seconds, for one app or (with "") for all."""

    kind: Kind
    seconds: float
    app: str = ""

    async def happen(self, host: Host) -> None:
        """Let it begin."""
        host.troubles.begin(self.kind, self.seconds, self.app)


@dataclass(frozen=True, slots=True)
class LogOut:
    """All sessions of an app are ended, as by a reset of its secret."""

    app: str

    async def happen(self, host: Host) -> None:
        """End them."""
        host.troubles.begin(Kind.LOGGED_OUT, app=self.app)
        host.dsm.log_out(self.app)


@dataclass(frozen=True, slots=True)
class Suspend:
    """The machine is suspended for some seconds."""

    seconds: float

    async def happen(self, host: Host) -> None:
        """Suspend and resume."""
        host.machine.suspend(self.seconds)
        host.troubles.begin(Kind.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Step:
    """The wall clock is set, by some seconds."""

    seconds: float

    async def happen(self, host: Host) -> None:
        """Set it."""
        host.troubles.begin(Kind.STEPPED)
        host.machine.step(self.seconds)


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is stopped, with or without ending its sessions, and started again."""

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
    """An operator requests a refresh, of one app or of all of them."""

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
    """A consumer asks for a token that is valid for a share of the usual lifetime, and waits."""

    app: str
    share: float

    async def happen(self, host: Host) -> None:
        """Ask, and wait."""
        await host.ask(self.app, self.share * host.dsm.habits.lifetime, wait=5.0)


@dataclass(frozen=True, slots=True)
class Reload:
    """The configuration is changed and reloaded: an app is added, removed, moved or retuned."""

    app: App
    goes: bool = False
    end_sessions: bool = False

    async def happen(self, host: Host) -> None:
        """Change it, and reload."""
        others = [app for app in host.apps if app.name != self.app.name]
        apps = others if self.goes else [*others, self.app]
        # A reload tries every refused credential again.
        host.troubles.begin(Kind.HASTENED)
        await host.reload(apps, end_sessions=self.end_sessions)


Incident = Trouble | LogOut | Suspend | Step | Restart | Refresh | Ask | Reload


def moved(app: App, url: str) -> App:
    """Return an app at another DSM, to which none of its tokens may be sent."""
    return replace(app, endpoint=Endpoint(url))


def retuned(app: App, timing: Timing) -> App:
    """Return an app under another timing."""
    return replace(app, timing=timing)
