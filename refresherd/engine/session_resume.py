"""Resumes the session of an earlier run, without asking DSM, if it is still the app's own."""

from refresherd.domain import session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import SessionResumed, Warned
from refresherd.domain.model import Instant, Secret, Token
from refresherd.domain.operator_transitions import refresh_requested
from refresherd.engine.context import RunningApp
from refresherd.engine.renewal_credential import UNREADABLE, CredentialWatch
from refresherd.engine.session_termination import SessionTermination


async def resume(app: RunningApp, watch: CredentialWatch, termination: SessionTermination) -> bool:
    """Publish a stored session as the app's; return False if there is none to resume.

    A session that has expired, or was obtained with another credential, is dropped. A
    credential that cannot be read now is no reason to drop it: the file may have been
    deleted, or a vault may be locked. A session of unknown age is left for a reauth.
    Raises Retryable if stored sessions cannot be read.
    """
    store = app.ports.session_store
    if store is None or app.session.token is not None:
        return False
    stored = await store.load()
    tokens = [session.token for session in stored if session.token is not None]
    if not tokens:
        return False
    newest, *older = tokens
    credential = await _credential(app)
    now, rand = app.now(), app.rand()
    if fault := _fault(newest, stored[0].credential, credential, now):
        app.observe(Warned(f"the stored session is dropped: {fault}", app.name))
        await store.remove()
        app.publish(session_state.with_generation(app.session, newest.generation))
        return False
    store.begin(stored[0].credential)
    watch.remember(credential)
    session = session_state.resumed(newest, now, app.settings.timing, rand)
    if app.session.by_operator:  # who asked for a new session, whatever was stored
        session = refresh_requested(session, now, app.settings.timing)
    app.publish(session)
    next_at = session.next_attempt_at
    app.observe(SessionResumed(app.name, newest.generation, newest.expires_at, next_at))
    for token in older:
        # A session that was kept alive is stored with each of its expiries.
        if token.expires_at > now and token.access_token != newest.access_token:
            termination.retire(token)
    return True


async def _credential(app: RunningApp) -> Secret:
    try:
        return await app.ports.credential.read()
    except Retryable:
        return UNREADABLE


def _fault(token: Token, fingerprint: str, credential: Secret, now: Instant) -> str:
    """Return why a stored session cannot be resumed, "" if it can."""
    if token.expires_at <= now:
        return "it has run out"
    if credential != UNREADABLE and credential.fingerprint() != fingerprint:
        return "the credential has changed"
    return ""
