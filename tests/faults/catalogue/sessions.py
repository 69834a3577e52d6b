"""Faults of sessions and credentials: what other people do to them at DSM."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.outages import refused
from faults.rig.fault import BRIEF, During, Fault, Length, Setting
from faults.rig.gate import Exchange, Trouble, passed_on
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


MAXIMUM = 1.5 * LIFETIME
"""How long after a login all sessions end that go back to it, in `session-maximum`."""


@asynccontextmanager
async def _limited(scene: Scene) -> AsyncIterator[None]:
    """Let each reauth grant only what is left of the session's maximum age."""
    app, began, granted = scene.app, [time.monotonic()], []

    async def limit(exchange: Exchange) -> None:
        if exchange.path.endswith("/auth"):
            began.append(time.monotonic())
        left = began[-1] + MAXIMUM - time.monotonic()
        app.lifetime = max(1.0, min(float(LIFETIME), left))
        if exchange.path.endswith("auth"):
            granted.append(app.lifetime)
        await passed_on(exchange)

    with scene.gate.troubled(Trouble(on_request=limit)):
        yield
    app.lifetime = LIFETIME
    if len(began) == 1:
        scene.remarks.append("there was no login")
    if min(granted) < LIFETIME / 6:
        scene.remarks.append(f"a login came late: {min(granted):.1f} s were granted")


KEPT = Setting(app='renew = "keepalive"', idle=True)


@asynccontextmanager
async def _reset(scene: Scene) -> AsyncIterator[None]:
    """Reset the secret. The key file is empty for a moment, as when an editor saves it."""
    scene.dsm.apps.reset_secret(scene.app)
    yield
    scene.key_file.write_text(scene.app.api_key or scene.app.secret)


LDAP = Setting(
    key='acct_id = "{account}"\napp_name = "app-1"\npassword_file = "{name}.key"\nrenew = "auth"'
)
"""An LDAP app, whose every renewal needs the password."""

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
        "session-maximum",
        "sessions have a maximum age, so that each reauth grants less",
        _limited,
        lengths=(Length("long", 2.5 * LIFETIME, within_budget=True),),
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
        "password-changed",
        "an LDAP app's password is changed, and its file gets the new one later",
        _reset,
        SESSION_LOST | REJECTED | CREDENTIAL,
        LDAP,
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
