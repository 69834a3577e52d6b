"""Resumes the session of an earlier run, without asking DSM, if it is still the app's own."""

from refresherd.domain import session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import SessionResumed, Warned
from refresherd.domain.model import Instant, Secret, Token
from refresherd.domain.operator_transitions import hastened
from refresherd.engine.context import RunningApp
from refresherd.engine.renewal_credential import UNREADABLE, CredentialWatch
from refresherd.engine.session_termination import SessionTermination


class SessionResume:
    """Comes before an app's first attempt."""

    __slots__ = ("_app", "_termination", "_watch")

    def __init__(
        self, app: RunningApp, watch: CredentialWatch, termination: SessionTermination
    ) -> None:
        self._app = app
        self._watch = watch
        self._termination = termination

    async def resume(self) -> bool:
        """Publish a stored session as the app's; return False if there is none to resume.

        A session that has expired, or was obtained with another credential, is dropped. A
        credential that cannot be read now is no reason to drop it: the file may have been
        deleted, or a vault may be locked. A session of unknown age is left for a reauth.
        Raises Retryable if stored sessions cannot be read.
        """
        store = self._app.ports.session_store
        if store is None or self._app.session.token is not None:
            return False
        stored = await store.load()
        tokens = [session.token for session in stored if session.token is not None]
        if not tokens:
            return False
        newest, *older = tokens
        credential = await self._credential()
        now, rand = self._app.now(), self._app.rand()
        if fault := _fault(newest, stored[0].credential, credential, now):
            message = f"the stored session is dropped: {fault}"
            self._app.observe(Warned(message, self._app.name))
            await store.remove()
            session = session_state.succeeding(self._app.session, newest.generation)
            self._app.publish(session)
            return False
        store.begin(stored[0].credential)
        self._watch.remember(credential)
        session = session_state.resumed(newest, now, self._app.settings.timing, rand)
        if self._app.session.by_operator:  # who asked for a new session, whatever was stored
            session = hastened(session, now, self._app.settings.timing)
        self._app.publish(session)
        self._app.observe(
            SessionResumed(
                self._app.name, newest.generation, newest.expires_at, session.next_attempt_at
            )
        )
        for token in older:
            # A session that was kept alive is stored with each of its expiries.
            if token.expires_at > now and token.access_token != newest.access_token:
                self._termination.retire(token)
        return True

    async def _credential(self) -> Secret:
        try:
            return await self._app.ports.credential.read()
        except Retryable:
            return UNREADABLE


def _fault(token: Token, fingerprint: str, credential: Secret, now: Instant) -> str:
    if token.expires_at <= now:
        return "it has run out"
    if credential != UNREADABLE and credential.fingerprint() != fingerprint:
        return "the credential has changed"
    return ""
