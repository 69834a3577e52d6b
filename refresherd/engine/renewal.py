"""One attempt at an app's session: what DSM is asked, and what its answer means."""

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
from refresherd.domain.model import Grant, Instant, Method, Secret, Token
from refresherd.domain.session_state import SessionState
from refresherd.engine.context import RunningApp
from refresherd.engine.login_limiter import LoginSlot
from refresherd.engine.renewal_credential import (
    CredentialChooser,
    CredentialWatch,
    RenewalCredential,
)
from refresherd.engine.session_resume import resume
from refresherd.engine.session_termination import SessionTermination


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to DSM. `timeout` in seconds."""

    method: Method
    secret: Secret
    sent_at: Instant
    timeout: float


class Renewal:
    """Makes an app's attempts, one at a time, and publishes the session state that follows.

    It holds no task, so that what it knows of used credentials and replaced sessions
    outlives a crash of the app's tasks.
    """

    __slots__ = ("_app", "_chooser", "credential_watch", "termination")

    def __init__(self, app: RunningApp) -> None:
        self.credential_watch = CredentialWatch(app)
        self.termination = SessionTermination(app)
        self._app = app
        self._chooser = CredentialChooser(app, self.credential_watch)

    def follow(self, earlier: "Renewal") -> None:
        """Take over what was known under the app's earlier settings."""
        self.credential_watch.follow(earlier.credential_watch)
        self.termination.follow(earlier.termination)

    async def attempt(self) -> None:
        """Resume a stored session, or else renew the session by the method that is due."""
        method, began = self._app.session.method, self._app.now()
        try:
            if await resume(self._app, self.credential_watch, self.termination):
                return
            session = self._app.session
            credential = await self._chooser.choose(session)
            method = credential.method
            # The slot first: a login that waits for it must not take up a place at the endpoint.
            async with self._login_slot(credential) as slot, self._app.ports.attempts:
                if self._app.session.method is not session.method:
                    return  # the token ran out in the queue: a login is due instead
                if slot is not None:
                    await slot.begin()
                request = self._begin(credential, session.next_attempt_at)
                began = request.sent_at
                await self._renew(request)
        except DsmError as error:
            now, rand = self._app.now(), self._app.rand()
            failed = session_state.failed(
                self._app.session, error, now, self._app.settings.timing, rand
            )
            self._fail(failed, error, method, began)
            if isinstance(error, Rejected):
                self.credential_watch.attempt_ended()

    async def check(self) -> None:
        """Ask DSM whether the session still lives; only a clear no changes anything."""
        async with self._app.ports.attempts:
            session, timing = self._app.session, self._app.settings.timing
            if session.token is None or session.check_at is None:
                return  # the token ran out in the queue
            credential = RenewalCredential(Method.KEEPALIVE, session.token.access_token)
            request = self._begin(credential, session.check_at)
            try:
                await self._app.ports.client.keep_alive(request.secret, request.timeout)
            except DsmError as error:
                now, rand = self._app.now(), self._app.rand()
                failed = session_state.check_failed(self._app.session, error, now, timing, rand)
                self._fail(failed, error, request.method, request.sent_at)
                return
        now, url = self._app.now(), self._app.settings.endpoint.url
        self._app.publish(session_state.checked(self._app.session, now, timing))
        self._app.observe(SessionChecked(self._app.name, url, now - request.sent_at))

    def _login_slot(
        self, credential: RenewalCredential
    ) -> AbstractAsyncContextManager[LoginSlot | None]:
        limiter = self._app.ports.login_limiter
        if limiter is None or credential.method is not Method.AUTH:
            return nullcontext()
        return limiter.slot(credential.secret, by_operator=self._app.session.by_operator)

    def _begin(self, credential: RenewalCredential, due: Instant) -> _Request:
        now = self._app.now()
        token = session_state.valid_token(self._app.session, now)
        remaining = None if token is None else token.expires_at - now
        timeout = timing.attempt_timeout(self._app.settings.endpoint.timeout, remaining)
        began = AttemptBegan(self._app.name, credential.method, max(0.0, now - due))
        self._app.observe(began)
        return _Request(credential.method, credential.secret, now, timeout)

    async def _renew(self, request: _Request) -> None:
        client = self._app.ports.client
        match request.method:
            case Method.AUTH:
                self._accept(await self._login(request), request)
            case Method.REAUTH:
                self._accept(await client.reauth(request.secret, request.timeout), request)
            case Method.KEEPALIVE:
                request_id = await client.keep_alive(request.secret, request.timeout)
                before, timing, rand = (
                    self._app.session,
                    self._app.settings.timing,
                    self._app.rand(),
                )
                session = session_state.kept_alive(before, request.sent_at, timing, rand)
                self._succeed(session, request, request_id)
            case _:
                assert_never(request.method)

    async def _login(self, request: _Request) -> Grant:
        try:
            grant = await self._app.ports.client.login(request.secret, request.timeout)
        except Rejected as error:
            if not await self._chooser.refused(self._app.session, request.secret):
                raise
            # The bootstrap token is no good, but there is a session to go on from: at once.
            raise SessionLost(error.message, request_id=error.request_id, dead=False) from None
        expected = self._app.ports.credential.entity_id
        if expected and expected.lower() != grant.entity_id.lower():
            mismatch = EntityMismatch(self._app.name, expected, grant.entity_id)
            self._app.observe(mismatch)
        return grant

    def _accept(self, grant: Grant, request: _Request) -> None:
        before = self._app.session
        replaced = before.token
        if request.method is Method.REAUTH:
            if replaced is None:
                replaced = _stored_token(request, grant, before.generation)
            else:
                _check_same_app(grant, replaced, self._app.ports.credential.entity_id)
        timing, rand = self._app.settings.timing, self._app.rand()
        session = session_state.granted(before, grant, request.sent_at, timing, rand)
        self._succeed(session, request, grant.request_id)
        # It is not known whether a reauth may return the very token that it was sent.
        if replaced is not None and replaced.access_token != grant.access_token:
            self.termination.retire(replaced)

    def _succeed(self, session: SessionState, request: _Request, request_id: str) -> None:
        now = self._app.now()
        if session_state.valid_token(session, now) is None:
            message = "the token had run out before the answer came"
            raise Retryable(Reason.BAD_RESPONSE, message, request_id=request_id)
        store = self._app.ports.session_store
        if request.method is Method.AUTH and store is not None:
            store.begin(request.secret.fingerprint())
        self._app.publish(session)
        self._app.observe(
            Renewed(
                app=self._app.name,
                endpoint=self._app.settings.endpoint.url,
                method=request.method,
                duration=now - request.sent_at,
                generation=session.generation,
                expires_at=session_state.expires_at(session),
                next_refresh_at=session.next_attempt_at,
                request_id=request_id,
            )
        )
        self.credential_watch.attempt_ended()

    def _fail(self, session: SessionState, error: DsmError, method: Method, began: Instant) -> None:
        self._app.publish(session)
        if isinstance(error, LoginSuppressed):
            # No attempt: DSM was not asked.
            postponed = LoginPostponed(self._app.name, error.message, session.next_attempt_at)
            self._app.observe(postponed)
            return
        self._app.observe(
            AttemptFailed(
                app=self._app.name,
                endpoint=self._app.settings.endpoint.url,
                method=method,
                reason=error.reason,
                message=error.message,
                duration=self._app.now() - began,
                consecutive_failures=session.failures,
                next_refresh_at=session.next_attempt_at,
                request_id=error.request_id,
            )
        )


def _stored_token(request: _Request, grant: Grant, generation: int) -> Token:
    """Return the stored session by which a reauth was just made, so that it can be ended.

    Nobody knows when it began: it may live as long as the new one.
    """
    expires_at = Instant(request.sent_at + grant.lifetime)
    at = request.sent_at
    return Token(request.secret, grant.entity_id, generation, at, grant.lifetime, expires_at)


def _check_same_app(grant: Grant, replaced: Token, app_id: str) -> None:
    """Raise Retryable if a reauth returned another app's session.

    A proxy that mixes up its answers must not give one app's token to another's consumers.
    This is checked only if the login has shown that DSM's entity_id is the app's UUID
    (`app_id`), which no documentation promises.
    """
    if app_id.lower() == replaced.entity_id.lower() != grant.entity_id.lower():
        message = "the answer to a reauth names another app than the session's"
        raise Retryable(Reason.BAD_RESPONSE, message, request_id=grant.request_id)
