"""One attempt at an app's session: what is asked of DSM, and what comes of it."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import assert_never

from refresherd.domain import session_state, timing
from refresherd.domain.errors import (
    DsmError,
    LoginSuppressed,
    Reason,
    Rejected,
    Retryable,
    SessionLost,
)
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    EntityMismatch,
    LoginPostponed,
    Renewed,
    SessionChecked,
)
from refresherd.domain.model import App, Grant, Instant, Method, Secret, Token
from refresherd.domain.session_state import SessionState
from refresherd.engine.app_context import AppContext
from refresherd.engine.context import Context
from refresherd.engine.credential_watch import CredentialWatch
from refresherd.engine.ports import LoginSlot
from refresherd.engine.renewal_credential import RenewalCredential, RenewalCredentials
from refresherd.engine.session_resume import SessionResume
from refresherd.engine.session_termination import SessionTermination
from refresherd.engine.state_cell import StateCell


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent to DSM: by which method, when, with which key or token, how long to wait."""

    method: Method
    sent_at: Instant
    secret: Secret
    timeout: float


class Renewal:
    """Makes an app's attempts, one at a time, and publishes the life that follows.

    It holds no task, so that what it knows of used credentials and replaced sessions
    outlives a crash of the app's tasks.
    """

    __slots__ = (
        "_app",
        "_app_context",
        "_cell",
        "_context",
        "_credentials",
        "_session_resume",
        "credential_watch",
        "termination",
    )

    def __init__(
        self, app: App, cell: StateCell, app_context: AppContext, context: Context
    ) -> None:
        self.credential_watch = CredentialWatch(app, cell, app_context.credential, context)
        self.termination = SessionTermination(app, app_context, context)
        self._app = app
        self._cell = cell
        self._app_context = app_context
        self._credentials = RenewalCredentials(app_context)
        self._session_resume = SessionResume(app, cell, app_context, context)
        self._context = context

    def follow(self, earlier: "Renewal") -> None:
        """Go on from what was known under the app's earlier settings."""
        self.credential_watch.follow(earlier.credential_watch)
        self.termination.follow(earlier.termination)

    async def attempt(self) -> None:
        """Renew the session by the method that its life names, or go on with one of before."""
        method, began = self._cell.session.method, self._context.clock.now()
        try:
            if await self._session_resume.resume(self.credential_watch, self.termination):
                return
            session = self._cell.session
            renewal_credential = await self._credentials.choose(session)
            method = renewal_credential.method
            if renewal_credential.placed is not None:
                self.credential_watch.remember(renewal_credential.placed)
            # In line first: who waits there must not take others' places at the endpoint.
            async with self._turn(renewal_credential) as turn, self._app_context.attempts:
                if self._cell.session.method is not session.method:
                    return  # the token ran out in the queue: a login is due instead
                if turn is not None:
                    await turn.begin()
                request = self._begin(renewal_credential, session.next_attempt_at)
                began = request.sent_at
                await self._renew(request)
        except DsmError as error:
            now, rand = self._context.clock.now(), self._context.rng()
            failed = session_state.failed(self._cell.session, error, now, self._app.timing, rand)
            self._fail(failed, error, method, began)
            if isinstance(error, Rejected):
                self.credential_watch.overtaken()

    async def check(self) -> None:
        """Ask DSM whether the session still lives; only a clear no changes anything."""
        async with self._app_context.attempts:
            session, timing = self._cell.session, self._app.timing
            if session.token is None or session.check_at is None:
                return  # the token ran out in the queue
            renewal_credential = RenewalCredential(Method.KEEPALIVE, session.token.access_token)
            request = self._begin(renewal_credential, session.check_at)
            try:
                await self._app_context.client.keep_alive(request.secret, request.timeout)
            except DsmError as error:
                now, rand = self._context.clock.now(), self._context.rng()
                doubted = session_state.check_failed(self._cell.session, error, now, timing, rand)
                self._fail(doubted, error, request.method, request.sent_at)
                return
        now, url = self._context.clock.now(), self._app.endpoint.url
        self._cell.publish(session_state.checked(self._cell.session, now, timing))
        self._context.observer.observe(SessionChecked(self._app.name, url, now - request.sent_at))

    def _turn(
        self, renewal_credential: RenewalCredential
    ) -> AbstractAsyncContextManager[LoginSlot | None]:
        if renewal_credential.method is not Method.AUTH or self._app_context.logins is None:
            return nullcontext()
        return self._app_context.logins.turn(
            renewal_credential.secret, by_operator=self._cell.session.by_operator
        )

    def _begin(self, renewal_credential: RenewalCredential, due: Instant) -> _Request:
        now = self._context.clock.now()
        token = session_state.valid_token(self._cell.session, now)
        remaining = None if token is None else token.expires_at - now
        timeout = timing.attempt_timeout(self._app.endpoint.timeout, remaining)
        began = AttemptBegan(self._app.name, renewal_credential.method, max(0.0, now - due))
        self._context.observer.observe(began)
        return _Request(renewal_credential.method, now, renewal_credential.secret, timeout)

    async def _renew(self, request: _Request) -> None:
        client = self._app_context.client
        match request.method:
            case Method.AUTH:
                self._accept(await self._login(request), request)
            case Method.REAUTH:
                self._accept(await client.reauth(request.secret, request.timeout), request)
            case Method.KEEPALIVE:
                request_id = await client.keep_alive(request.secret, request.timeout)
                timing, rand = self._app.timing, self._context.rng()
                session = session_state.kept_alive(
                    self._cell.session, request.sent_at, timing, rand
                )
                self._succeed(session, request, request_id)
            case _:
                assert_never(request.method)

    async def _login(self, request: _Request) -> Grant:
        try:
            grant = await self._app_context.client.login(request.secret, request.timeout)
        except Rejected as error:
            if not await self._credentials.refused(self._cell.session, request.secret):
                raise
            # The bootstrap is no good, but the chain has a session to go on from: at once.
            raise SessionLost(error.message, request_id=error.request_id, dead=False) from None
        expected = self._app_context.credential.entity_id
        if expected and expected.lower() != grant.entity_id.lower():
            self._context.observer.observe(
                EntityMismatch(self._app.name, expected, grant.entity_id)
            )
        return grant

    def _accept(self, grant: Grant, request: _Request) -> None:
        before = self._cell.session
        replaced = before.token
        if replaced is not None and request.method is Method.REAUTH:
            self._demand_same_app(grant, replaced)
        if replaced is None and request.method is Method.REAUTH:
            replaced = _resumed(request, grant, before.generation)
        timing, rand = self._app.timing, self._context.rng()
        session = session_state.granted(before, grant, request.sent_at, timing, rand)
        self._succeed(session, request, grant.request_id)
        # Nobody could try whether a reauth may answer with the very token that it was asked by.
        if replaced is not None and replaced.access_token != grant.access_token:
            self.termination.retire(replaced)

    def _demand_same_app(self, grant: Grant, replaced: Token) -> None:
        """Raise Retryable for another app's session.

        A proxy that mixes up its answers must not hand one app's token to another's consumers.
        Only where the login has shown that DSM's entity_id is the app's UUID: nobody could try.
        """
        own = self._app_context.credential.entity_id.lower()
        if own == replaced.entity_id.lower() != grant.entity_id.lower():
            told = "the answer to a reauth names another app than the session's"
            raise Retryable(Reason.BAD_RESPONSE, told, request_id=grant.request_id)

    def _succeed(self, session: SessionState, request: _Request, request_id: str) -> None:
        now = self._context.clock.now()
        if session_state.valid_token(session, now) is None:
            told = "the token had run out before the answer came"
            raise Retryable(Reason.BAD_RESPONSE, told, request_id=request_id)
        if request.method is Method.AUTH:
            self._log_in_with(request.secret)
        self._cell.publish(session)
        self._context.observer.observe(
            Renewed(
                app=self._app.name,
                endpoint=self._app.endpoint.url,
                method=request.method,
                duration=now - request.sent_at,
                generation=session.generation,
                expires_at=session_state.expires_at(session),
                next_refresh_at=session.next_attempt_at,
                request_id=request_id,
            )
        )
        self.credential_watch.overtaken()

    def _log_in_with(self, credential: Secret) -> None:
        """Have what keeps sessions over a restart know what the new one goes back to."""
        if self._app_context.session_store is not None:
            self._app_context.session_store.begin(credential.fingerprint())

    def _fail(self, session: SessionState, error: DsmError, method: Method, began: Instant) -> None:
        self._cell.publish(session)
        if isinstance(error, LoginSuppressed):
            # No attempt, for DSM was not asked.
            withheld = LoginPostponed(self._app.name, error.message, session.next_attempt_at)
            self._context.observer.observe(withheld)
            return
        self._context.observer.observe(
            AttemptFailed(
                app=self._app.name,
                endpoint=self._app.endpoint.url,
                method=method,
                reason=error.reason,
                message=error.message,
                duration=self._context.clock.now() - began,
                consecutive_failures=session.failures,
                next_refresh_at=session.next_attempt_at,
                request_id=error.request_id,
            )
        )


def _resumed(request: _Request, grant: Grant, generation: int) -> Token:
    """Return the session of an earlier run that a request has just been made by, to be ended.

    Nobody knows when it began: it may have as long to live as the new one.
    """
    expires_at = Instant(request.sent_at + grant.lifetime)
    at = request.sent_at
    return Token(request.secret, grant.entity_id, generation, at, grant.lifetime, expires_at)
