"""Goes on from the session of an earlier run, if it is still the app's own."""

from refresherd.domain import session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import SessionResumed, Warned
from refresherd.domain.model import App, Inherited, Instant, Secret
from refresherd.domain.operator_transitions import hastened
from refresherd.engine.app_context import Equipment
from refresherd.engine.context import World
from refresherd.engine.credential_watch import Rotation
from refresherd.engine.renewal_credential import NOTHING
from refresherd.engine.session_termination import Retirement
from refresherd.engine.state_cell import Cell


class Resumption:
    """Comes before an app's first attempt. It asks DSM nothing, but looks at the credential."""

    __slots__ = ("_app", "_cell", "_equipment", "_world")

    def __init__(self, app: App, cell: Cell, equipment: Equipment, world: World) -> None:
        self._app = app
        self._cell = cell
        self._equipment = equipment
        self._world = world

    async def resume(self, rotation: Rotation, retirement: Retirement) -> bool:
        """Publish the life that goes on from a stored session; False where there is none.

        One that has run out, or was got by another credential, is dropped. A credential
        that cannot be read now is no reason to: it may be deleted, or a vault be locked.
        """
        sessions = self._equipment.sessions
        if sessions is None or not (found := sessions.inherited()):
            return False
        newest, *older = found
        placed = await self._placed()
        now, luck = self._world.clock.now(), self._world.luck()
        if fault := _fault(newest, placed, now):
            told = f"the stored session is dropped: {fault}"
            self._world.observer.observe(Warned(told, self._app.name))
            await sessions.remove()
            generation = newest.token.generation
            self._cell.publish(session_state.succeeding(self._cell.life, generation))
            return False
        sessions.begin(newest.credential)
        rotation.remember(placed)
        life = session_state.resumed(newest.token, now, self._app.timing, luck)
        if self._cell.life.asked:  # for a new session, be there an old one or not
            life = hastened(life, now, self._app.timing)
        self._cell.publish(life)
        token, at = newest.token, life.next_attempt_at
        self._world.observer.observe(
            SessionResumed(self._app.name, token.generation, token.expires_at, at)
        )
        for one in older:
            # A session that was kept alive is stored under each of its ends.
            if one.token.expires_at > now and one.token.access_token != token.access_token:
                retirement.retire(one.token)
        return True

    async def _placed(self) -> Secret:
        try:
            return await self._equipment.credential.read()
        except Retryable:
            return NOTHING


def _fault(session: Inherited, placed: Secret, now: Instant) -> str:
    if session.token.expires_at <= now:
        return "it has run out"
    if placed != NOTHING and placed.fingerprint() != session.credential:
        return "the credential has changed"
    return ""
