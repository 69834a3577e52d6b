"""Faults of sessions and credentials: what other people do to them at DSM."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.outages import refused
from faults.rig.fault import BRIEF, During, Fault, Setting
from faults.rig.reasons import CONNECT, CREDENTIAL, REJECTED, SESSION_LOST
from faults.rig.scene import Scene
from faults.rig.timing import LIFETIME

CHECKED = Setting(app='session_check = "1s"\nat = 0.9\njitter = 0.0')
"""The session is checked every second and refreshed late, so that the check notices first."""


def _ended(within: float) -> During:
    """Return a fault in which somebody ends the app's sessions while DSM works."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        sessions, app = scene.dsm.sessions, scene.app
        known = len(sessions.tokens(app))
        sessions.end_all(app)
        if await scene.until(lambda: len(sessions.tokens(app)) > known, within) is None:
            scene.remarks.append(
                f"the daemon did not notice within {within:g} s that the session had ended"
            )
        yield

    return during


KEPT = Setting(app='renew = "keepalive"', idle=True)


@asynccontextmanager
async def _reset(scene: Scene) -> AsyncIterator[None]:
    """Reset the secret. The key file is empty for a moment, as when an editor saves it."""
    scene.dsm.apps.reset_secret(scene.app)
    yield
    scene.key_file.write_text(scene.app.api_key)


FAULTS = (
    Fault(
        "session-ended",
        "somebody ends the session",
        _ended(LIFETIME / 2),
        SESSION_LOST,
        may_lack_token=True,
        may_serve_dead_token=True,
    ),
    Fault(
        "session-ended-checked",
        "somebody ends the session, and `session_check` is on",
        _ended(4.0),
        SESSION_LOST,
        CHECKED,
        lengths=(BRIEF,),
        may_lack_token=True,
        may_serve_dead_token=True,
    ),
    Fault(
        "session-ended-keepalive",
        "somebody ends the session that is kept alive",
        _ended(LIFETIME / 2),
        SESSION_LOST,
        KEPT,
        may_lack_token=True,
        may_serve_dead_token=True,
    ),
    Fault(
        "secret-reset",
        "the app's secret is reset, and the key file gets the new one later",
        _reset,
        SESSION_LOST | REJECTED | CREDENTIAL,
        may_lack_token=True,
        may_serve_dead_token=True,
    ),
    Fault(
        "refused-auth",
        "nobody listens, and `renew` is auth",
        refused,
        CONNECT,
        Setting(app='renew = "auth"'),
    ),
    Fault(
        "refused-keepalive",
        "nobody listens, and `renew` is keepalive",
        refused,
        CONNECT,
        KEPT,
    ),
)
