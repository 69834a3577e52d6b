"""What an attempt proves itself by: the live token, the credential, or a session that was kept."""

from dataclasses import dataclass

from refresherd.domain.errors import Retryable
from refresherd.domain.model import Method, Secret
from refresherd.domain.session_state import SessionState
from refresherd.engine.app_context import AppContext

NOTHING = Secret("")
"""Stands for a credential that cannot be read: no source ever holds it."""


@dataclass(frozen=True, slots=True)
class RenewalCredential:
    """What is sent to DSM, and by which method.

    `placed` is what the credential's source held, None where it was not asked.
    """

    method: Method
    secret: Secret
    placed: Secret | None = None


class RenewalCredentials:
    """Chooses each attempt's proof. For most apps a login is made with the credential.

    An app with a chain logs in from the newest session that is known, by a reauth, as long as
    DSM has not declared that dead. A bootstrap that an operator has placed since comes first;
    if DSM refuses that one, the chain goes on all the same.
    """

    __slots__ = ("_app_context", "_refused")

    def __init__(self, app_context: AppContext) -> None:
        self._app_context = app_context
        self._refused = NOTHING

    async def choose(self, session: SessionState) -> RenewalCredential:
        """Return the proof of the life's next attempt. Raises Retryable where it can't be read."""
        if session.token is not None and session.method is not Method.AUTH:
            return RenewalCredential(session.method, session.token.access_token)
        try:
            placed = await self._app_context.credential.read()
        except Retryable:
            # A bootstrap may be deleted once the chain has begun.
            kept = await self._kept(session)
            if kept is None:
                raise
            return RenewalCredential(Method.REAUTH, kept, NOTHING)
        kept = await self._kept(session, None if placed == self._refused else placed)
        if kept is None:
            return RenewalCredential(Method.AUTH, placed, placed)
        return RenewalCredential(Method.REAUTH, kept, placed)

    async def refused(self, session: SessionState, credential: Secret) -> bool:
        """Take note that DSM refused a credential; return whether a kept session is left to try."""
        self._refused = credential
        return await self._kept(session) is not None

    async def _kept(self, session: SessionState, bootstrap: Secret | None = None) -> Secret | None:
        """Return the newest token of the chain, or of its bootstrap's chain where one is named."""
        store = self._app_context.session_store
        if store is None or not store.irreplaceable or session.dead:
            return None
        stored = await store.load()
        if bootstrap is not None and bootstrap.fingerprint() != store.credential:
            return None
        if session.token is not None:
            return session.token.access_token
        return stored[0].access_token if stored else None
