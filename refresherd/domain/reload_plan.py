"""What a reload has to do: (old apps, new apps) → which start, stop, restart, or are retuned."""

from collections.abc import Iterable
from dataclasses import dataclass

from refresherd.domain.model import App


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Apps to `restart` need a new session; those to `retune` keep theirs under other settings."""

    start: tuple[App, ...] = ()
    stop: tuple[str, ...] = ()
    restart: tuple[App, ...] = ()
    retune: tuple[App, ...] = ()


def diff(old: Iterable[App], new: Iterable[App]) -> ReloadPlan:
    """Return the steps from the old apps to the new ones; unchanged apps are in none of them."""
    before = {app.name: app for app in old}
    after = {app.name: app for app in new}
    changed = [app for name, app in after.items() if name in before and app != before[name]]
    return ReloadPlan(
        start=tuple(app for name, app in after.items() if name not in before),
        stop=tuple(name for name in before if name not in after),
        restart=tuple(app for app in changed if not _same_session(before[app.name], app)),
        retune=tuple(app for app in changed if _same_session(before[app.name], app)),
    )


def _same_session(old: App, new: App) -> bool:
    """Return whether the session of one serves the other.

    The question is whether a token could go to the wrong server or belong to another app. So the
    endpoint, the credential and `bind_to` decide; how DSM is reached does not matter.
    """
    before = old.endpoint.url, old.credential, old.bind_to
    return before == (new.endpoint.url, new.credential, new.bind_to)
