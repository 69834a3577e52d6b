"""One attempt at an app's session: what DSM is asked, and what its answer means."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import assert_never

from refresherd.domain import errors, events, session_state, timing
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable
from refresherd.domain.model import Grant, Instant, Method, Secret, Token
from refresherd.domain.refusal import refusal
from refresherd.domain.session_state import SessionState
from refresherd.engine.context import RunningApp
from refresherd.engine.login_limiter import LoginSlot
from refresherd.engine.renewal_credential import RenewalCredential, resume
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

    __slots__ = ("_app", "credential", "termination")

    def __init__(self, app: RunningApp) -> None:
        self.credential = RenewalCredential(app)
        self.termination = SessionTermination(app)
        self._app = app

    def follow(self, earlier: "Renewal") -> None:
        """Take over what was known under the app's earlier settings."""
        self.credential.follow(earlier.credential)
        self.termination.follow(earlier.termination)

    def failed_logins(self) -> int | None:
        """Return how many logins with the app's credential have failed within 24 hours.

        None if DSM does not count them.
        """
        limiter, credential = self._app.ports.login_limiter, self.credential.used
        if limiter is None:
            return None
        return 0 if credential is None else limiter.failed_logins(credential)

    async def attempt(self) -> None:
        """Resume a stored session, or else renew the session by the method that is due."""
        method, began = self._app.session.method, self._app.now()
        generations, name = self._app.context.generations, self._app.name
        try:
            if self._app.session.generation == 0 and (last := await generations.last(name)):
                self._app.publish(session_state.with_generation(self._app.session, last))
            if await resume(self._app, self.credential, self.termination):
                return
            session = self._app.session
            method, secret = await self.credential.choose(session)
            if method is not Method.KEEPALIVE:
                await generations.reserve(name, session.generation + 1)
            # The slot first: a login that waits for it must not take up a place at the endpoint.
            async with self._login_slot(method, secret) as slot, self._app.ports.attempts:
                if self._app.session.method is not session.method:
                    return  # the token expired in the queue: a login is due instead
                if slot is not None:
                    await slot.begin()
                request = self._begin(method, secret, session.next_attempt_at)
                began = request.sent_at
                await self._renew(request)
        except DsmError as error:
            session, timing = self._app.session, self._app.settings.timing
            now, rand = self._app.now(), self._app.rand()
            failed = session_state.failed(session, error, now, timing, rand)
            self._fail(failed, error, method, began)
            if isinstance(error, Rejected):
                self.credential.attempt_ended()

    async def check(self) -> None:
        """Ask DSM whether the session is still alive; only a definite "no" changes anything."""
        async with self._app.ports.attempts:
            session, timing = self._app.session, self._app.settings.timing
            if session.token is None or session.check_at is None:
                return  # the token expired in the queue
            secret = session.token.access_token
            request = self._begin(Method.KEEPALIVE, secret, session.check_at)
            try:
                await self._app.ports.client.keep_alive(secret, request.timeout)
            except DsmError as error:
                now, rand = self._app.now(), self._app.rand()
                failed = session_state.check_failed(self._app.session, error, now, timing, rand)
                self._fail(failed, error, request.method, request.sent_at)
                return
        now, url = self._app.now(), self._app.settings.endpoint.url
        self._app.publish(session_state.checked(self._app.session, now, timing))
        self._app.observe(events.SessionChecked(self._app.name, url, now - request.sent_at))

    def _login_slot(
        self, method: Method, secret: Secret
    ) -> AbstractAsyncContextManager[LoginSlot | None]:
        limiter = self._app.ports.login_limiter
        if limiter is None or method is not Method.AUTH:
            return nullcontext()
        return limiter.slot(secret, by_operator=self._app.session.by_operator)

    def _begin(self, method: Method, secret: Secret, due: Instant) -> _Request:
        now = self._app.now()
        token = session_state.valid_token(self._app.session, now)
        remaining = None if token is None else token.expires_at - now
        timeout = timing.attempt_timeout(self._app.settings.endpoint.timeout, remaining)
        self._app.observe(events.AttemptBegan(self._app.name, method, max(0.0, now - due)))
        return _Request(method, secret, now, timeout)

    async def _renew(self, request: _Request) -> None:
        client = self._app.ports.client
        match request.method:
            case Method.AUTH:
                self._accept(await self._login(request), request)
            case Method.REAUTH:
                self._accept(await client.reauth(request.secret, request.timeout), request)
            case Method.KEEPALIVE:
                request_id = await client.keep_alive(request.secret, request.timeout)
                timing, rand = self._app.settings.timing, self._app.rand()
                before, sent_at = self._app.session, request.sent_at
                session = session_state.kept_alive(before, sent_at, timing, rand)
                self._succeed(session, request, request_id)
            case _:
                assert_never(request.method)

    async def _login(self, request: _Request) -> Grant:
        try:
            grant = await self._app.ports.client.login(request.secret, request.timeout)
        except Rejected as error:
            if not await self.credential.refused(self._app.session, request.secret):
                if error.reason is not Reason.REJECTED:
                    raise
                message = refusal(self._app.settings, error.message)
                raise Rejected(error.reason, message, request_id=error.request_id) from None
            # DSM refuses the bootstrap token, but there is a session: continue from it at once.
            lost = errors.SessionLost(error.message, request_id=error.request_id, dead=False)
            raise lost from None
        expected = self._entity_ids()
        if "" not in expected and grant.entity_id.lower() not in expected:
            mismatch = events.EntityMismatch(self._app.name, expected[0], grant.entity_id)
            self._app.observe(mismatch)
        return grant

    def _entity_ids(self) -> tuple[str, ...]:
        """Return the UUIDs that DSM may give as a session's entity_id; "" is an unknown one.

        No documentation says whether a session with `bind_to` belongs to that app or to the one
        that logged in.
        """
        bind_to, own = self._app.settings.bind_to, self._app.ports.credential.entity_id
        return (bind_to.lower(), own.lower()) if bind_to else (own.lower(),)

    def _accept(self, grant: Grant, request: _Request) -> None:
        before, sent_at = self._app.session, request.sent_at
        replaced = before.token
        if request.method is Method.REAUTH:
            if replaced is None:
                # A stored session. Nobody knows when it began: it may live as long as the new one.
                ends_at = Instant(sent_at + grant.lifetime)
                identity = (request.secret, grant.entity_id, before.generation)
                replaced = Token(*identity, sent_at, grant.lifetime, ends_at)
            else:
                _check_same_app(grant, replaced, self._entity_ids())
        timing, rand = self._app.settings.timing, self._app.rand()
        store = self._app.ports.session_store
        has_key = store is None or not store.irreplaceable
        by_reauth = has_key and request.method is Method.REAUTH
        session = session_state.granted(before, grant, sent_at, timing, rand, by_reauth=by_reauth)
        self._succeed(session, request, grant.request_id)
        # It is not known whether a reauth may return the very token that it was sent.
        if replaced is not None and replaced.access_token != grant.access_token:
            self.termination.retire(replaced)

    def _succeed(self, session: SessionState, request: _Request, request_id: str) -> None:
        now = self._app.now()
        if session_state.valid_token(session, now) is None:
            message = "the token had expired before the answer came"
            raise Retryable(Reason.BAD_RESPONSE, message, request_id=request_id)
        store = self._app.ports.session_store
        if request.method is Method.AUTH and store is not None:
            store.begin(request.secret.fingerprint())
        self._app.publish(session)
        self._app.observe(
            events.Renewed(
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
        self.credential.attempt_ended()

    def _fail(self, session: SessionState, error: DsmError, method: Method, began: Instant) -> None:
        self._app.publish(session)
        next_at = session.next_attempt_at
        if isinstance(error, errors.LoginSuppressed):
            # No attempt: DSM was not asked.
            self._app.observe(events.LoginPostponed(self._app.name, error.message, next_at))
            return
        self._app.observe(
            events.AttemptFailed(
                app=self._app.name,
                endpoint=self._app.settings.endpoint.url,
                method=method,
                reason=error.reason,
                message=error.message,
                duration=self._app.now() - began,
                consecutive_failures=session.failures,
                next_refresh_at=next_at,
                request_id=error.request_id,
            )
        )


def _check_same_app(grant: Grant, replaced: Token, entity_ids: Sequence[str]) -> None:
    """Raise Retryable if a reauth returned another app's session, SessionLost if an unbound one.

    A proxy that mixes up its answers must not give one app's token to another's consumers.
    This is checked only if the login has shown that DSM's entity_id is among those expected,
    which no documentation promises.
    """
    before, after = replaced.entity_id.lower(), grant.entity_id.lower()
    if before not in entity_ids or before == after:
        return
    if after in entity_ids:
        message = 'a reauth does not keep the binding of the session (bind_to); set renew = "auth"'
        raise errors.SessionLost(message, request_id=grant.request_id, dead=False)
    message = "the answer to a reauth names another app than the session's"
    raise Retryable(Reason.BAD_RESPONSE, message, request_id=grant.request_id)
