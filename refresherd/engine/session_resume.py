"""Goes on from the session of an earlier run, if it is still the app's own."""

from refresherd.domain import session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import SessionResumed, Warned
from refresherd.domain.model import App, Instant, Secret, Token
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
        store = self._app_context.session_store
        if store is None or self._cell.session.token is not None:
            return False
        stored = await store.load()
        tokens = [one.token for one in stored if one.token is not None]
        if not tokens:
            return False  # only DSM can say whether they live
        credential = stored[0].credential
        newest, *older = tokens
        placed = await self._placed()
        now, rand = self._context.clock.now(), self._context.rng()
        if fault := _fault(newest, credential, placed, now):
            message = f"the stored session is dropped: {fault}"
            self._context.observer.observe(Warned(message, self._app.name))
            await store.remove()
            following = session_state.succeeding(self._cell.session, newest.generation)
            self._cell.publish(following)
            return False
        store.begin(credential)
        credential_watch.remember(placed)
        session = session_state.resumed(newest, now, self._app.timing, rand)
        if self._cell.session.by_operator:  # for a new session, be there an old one or not
            session = hastened(session, now, self._app.timing)
        self._cell.publish(session)
        at = session.next_attempt_at
        self._context.observer.observe(
            SessionResumed(self._app.name, newest.generation, newest.expires_at, at)
        )
        for token in older:
            # A session that was kept alive is stored under each of its ends.
            if token.expires_at > now and token.access_token != newest.access_token:
                termination.retire(token)
        return True

    async def _placed(self) -> Secret:
        try:
            return await self._app_context.credential.read()
        except Retryable:
            return NOTHING


def _fault(token: Token, credential: str, placed: Secret, now: Instant) -> str:
    if token.expires_at <= now:
        return "it has run out"
    if placed != NOTHING and placed.fingerprint() != credential:
        return "the credential has changed"
    return ""
