"""Goes on from the session of an earlier run, if it is still the app's own."""

from refresherd.domain import session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import SessionResumed, Warned
from refresherd.domain.model import App, Inherited, Instant, Secret
from refresherd.domain.operator_transitions import hastened
from refresherd.engine.app_context import AppContext
from refresherd.engine.context import Context
from refresherd.engine.credential_watch import CredentialWatch
from refresherd.engine.renewal_credential import NOTHING
from refresherd.engine.session_termination import SessionTermination
from refresherd.engine.state_cell import StateCell


class SessionResume:
    """Comes before an app's first attempt. It asks DSM nothing, but looks at the credential."""

    __slots__ = ("_app", "_app_context", "_cell", "_context")

    def __init__(
        self, app: App, cell: StateCell, app_context: AppContext, context: Context
    ) -> None:
        self._app = app
        self._cell = cell
        self._app_context = app_context
        self._context = context

    async def resume(
        self, credential_watch: CredentialWatch, termination: SessionTermination
    ) -> bool:
        """Publish the session that goes on from a stored session; False where there is none.

        One that has run out, or was got by another credential, is dropped. A credential
        that cannot be read now is no reason to: it may be deleted, or a vault be locked.
        """
        sessions = self._app_context.sessions
        if sessions is None or not (found := sessions.inherited()):
            return False
        newest, *older = found
        placed = await self._placed()
        now, rand = self._context.clock.now(), self._context.rng()
        if fault := _fault(newest, placed, now):
            message = f"the stored session is dropped: {fault}"
            self._context.observer.observe(Warned(message, self._app.name))
            await sessions.remove()
            generation = newest.token.generation
            self._cell.publish(session_state.succeeding(self._cell.session, generation))
            return False
        sessions.begin(newest.credential)
        credential_watch.remember(placed)
        session = session_state.resumed(newest.token, now, self._app.timing, rand)
        if self._cell.session.by_operator:  # for a new session, be there an old one or not
            session = hastened(session, now, self._app.timing)
        self._cell.publish(session)
        token, at = newest.token, session.next_attempt_at
        self._context.observer.observe(
            SessionResumed(self._app.name, token.generation, token.expires_at, at)
        )
        for one in older:
            # A session that was kept alive is stored under each of its ends.
            if one.token.expires_at > now and one.token.access_token != token.access_token:
                termination.retire(one.token)
        return True

    async def _placed(self) -> Secret:
        try:
            return await self._app_context.credential.read()
        except Retryable:
            return NOTHING


def _fault(session: Inherited, placed: Secret, now: Instant) -> str:
    if session.token.expires_at <= now:
        return "it has run out"
    if placed != NOTHING and placed.fingerprint() != session.credential:
        return "the credential has changed"
    return ""
