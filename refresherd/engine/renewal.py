"""One attempt at an app's session: what is asked of DSM, and what comes of it."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import assert_never

from refresherd.domain import session_state, timing
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost, Withheld
from refresherd.domain.events import (
    AttemptBegan,
    AttemptFailed,
    EntityMismatch,
    LoginWithheld,
    Renewed,
    SessionChecked,
)
from refresherd.domain.model import App, Grant, Instant, Method, Secret, Token
from refresherd.domain.session_state import Life
from refresherd.engine.app_context import Equipment
from refresherd.engine.context import World
from refresherd.engine.credential_watch import Rotation
from refresherd.engine.ports import Turn
from refresherd.engine.renewal_credential import Proof, Proofs
from refresherd.engine.session_resume import Resumption
from refresherd.engine.session_termination import Retirement
from refresherd.engine.state_cell import Cell


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
        "_cell",
        "_equipment",
        "_proofs",
        "_resumption",
        "_world",
        "retirement",
        "rotation",
    )

    def __init__(self, app: App, cell: Cell, equipment: Equipment, world: World) -> None:
        self.rotation = Rotation(app, cell, equipment.credential, world)
        self.retirement = Retirement(app, equipment, world)
        self._app = app
        self._cell = cell
        self._equipment = equipment
        self._proofs = Proofs(equipment)
        self._resumption = Resumption(app, cell, equipment, world)
        self._world = world

    def follow(self, earlier: "Renewal") -> None:
        """Go on from what was known under the app's earlier settings."""
        self.rotation.follow(earlier.rotation)
        self.retirement.follow(earlier.retirement)

    async def attempt(self) -> None:
        """Renew the session by the method that its life names, or go on with one of before."""
        if await self._resumption.resume(self.rotation, self.retirement):
            return
        life = self._cell.life
        method, began = life.method, self._world.clock.now()
        try:
            proof = await self._proofs.choose(life)
            method = proof.method
            if proof.placed is not None:
                self.rotation.remember(proof.placed)
            # In line first: who waits there must not take others' places at the endpoint.
            async with self._turn(proof) as turn, self._equipment.attempts:
                if self._cell.life.method is not life.method:
                    return  # the token ran out in the queue: a login is due instead
                if turn is not None:
                    await turn.begin()
                request = self._begin(proof, life.next_attempt_at)
                began = request.sent_at
                await self._renew(request)
        except DsmError as error:
            now, luck = self._world.clock.now(), self._world.luck()
            failed = session_state.failed(self._cell.life, error, now, self._app.timing, luck)
            self._fail(failed, error, method, began)
            if isinstance(error, Rejected):
                self.rotation.overtaken()

    async def check(self) -> None:
        """Ask DSM whether the session still lives; only a clear no changes anything."""
        async with self._equipment.attempts:
            life, timing = self._cell.life, self._app.timing
            if life.token is None or life.check_at is None:
                return  # the token ran out in the queue
            proof = Proof(Method.KEEPALIVE, life.token.access_token)
            request = self._begin(proof, life.check_at)
            try:
                await self._equipment.client.keep_alive(request.secret, request.timeout)
            except DsmError as error:
                now, luck = self._world.clock.now(), self._world.luck()
                doubted = session_state.check_failed(self._cell.life, error, now, timing, luck)
                self._fail(doubted, error, request.method, request.sent_at)
                return
        now, url = self._world.clock.now(), self._app.endpoint.url
        self._cell.publish(session_state.checked(self._cell.life, now, timing))
        self._world.observer.observe(SessionChecked(self._app.name, url, now - request.sent_at))

    def _turn(self, proof: Proof) -> AbstractAsyncContextManager[Turn | None]:
        if proof.method is not Method.AUTH or self._equipment.logins is None:
            return nullcontext()
        return self._equipment.logins.turn(proof.secret, asked=self._cell.life.asked)

    def _begin(self, proof: Proof, due: Instant) -> _Request:
        now = self._world.clock.now()
        token = session_state.valid_token(self._cell.life, now)
        remaining = None if token is None else token.expires_at - now
        timeout = timing.attempt_timeout(self._app.endpoint.timeout, remaining)
        began = AttemptBegan(self._app.name, proof.method, max(0.0, now - due))
        self._world.observer.observe(began)
        return _Request(proof.method, now, proof.secret, timeout)

    async def _renew(self, request: _Request) -> None:
        client = self._equipment.client
        match request.method:
            case Method.AUTH:
                self._accept(await self._login(request), request)
            case Method.REAUTH:
                self._accept(await client.reauth(request.secret, request.timeout), request)
            case Method.KEEPALIVE:
                request_id = await client.keep_alive(request.secret, request.timeout)
                timing, luck = self._app.timing, self._world.luck()
                life = session_state.kept_alive(self._cell.life, request.sent_at, timing, luck)
                self._succeed(life, request, request_id)
            case _:
                assert_never(request.method)

    async def _login(self, request: _Request) -> Grant:
        try:
            grant = await self._equipment.client.login(request.secret, request.timeout)
        except Rejected as error:
            if not await self._proofs.refused(self._cell.life, request.secret):
                raise
            # The bootstrap is no good, but the chain has a session to go on from: at once.
            raise SessionLost(error.message, request_id=error.request_id, dead=False) from None
        expected = self._equipment.credential.entity_id
        if expected and expected.lower() != grant.entity_id.lower():
            self._world.observer.observe(EntityMismatch(self._app.name, expected, grant.entity_id))
        return grant

    def _accept(self, grant: Grant, request: _Request) -> None:
        before = self._cell.life
        replaced = before.token
        if replaced is not None and request.method is Method.REAUTH:
            self._demand_same_app(grant, replaced)
        if replaced is None and request.method is Method.REAUTH:
            replaced = _resumed(request, grant, before.generation)
        timing, luck = self._app.timing, self._world.luck()
        life = session_state.granted(before, grant, request.sent_at, timing, luck)
        self._succeed(life, request, grant.request_id)
        # Nobody could try whether a reauth may answer with the very token that it was asked by.
        if replaced is not None and replaced.access_token != grant.access_token:
            self.retirement.retire(replaced)

    def _demand_same_app(self, grant: Grant, replaced: Token) -> None:
        """Raise Retryable for another app's session.

        A proxy that mixes up its answers must not hand one app's token to another's consumers.
        Only where the login has shown that DSM's entity_id is the app's UUID: nobody could try.
        """
        own = self._equipment.credential.entity_id.lower()
        if own == replaced.entity_id.lower() != grant.entity_id.lower():
            told = "the answer to a reauth names another app than the session's"
            raise Retryable(Reason.BAD_RESPONSE, told, request_id=grant.request_id)

    def _succeed(self, life: Life, request: _Request, request_id: str) -> None:
        now = self._world.clock.now()
        if session_state.valid_token(life, now) is None:
            told = "the token had run out before the answer came"
            raise Retryable(Reason.BAD_RESPONSE, told, request_id=request_id)
        if request.method is Method.AUTH:
            self._log_in_with(request.secret)
        self._cell.publish(life)
        self._world.observer.observe(
            Renewed(
                app=self._app.name,
                endpoint=self._app.endpoint.url,
                method=request.method,
                duration=now - request.sent_at,
                generation=life.generation,
                expires_at=session_state.expires_at(life),
                next_refresh_at=life.next_attempt_at,
                request_id=request_id,
            )
        )
        self.rotation.overtaken()

    def _log_in_with(self, credential: Secret) -> None:
        """Have what keeps sessions over a restart know what the new one goes back to."""
        if self._equipment.chain is not None:
            self._equipment.chain.begin(credential)
        if self._equipment.sessions is not None:
            self._equipment.sessions.begin(credential.fingerprint())

    def _fail(self, life: Life, error: DsmError, method: Method, began: Instant) -> None:
        self._cell.publish(life)
        if isinstance(error, Withheld):
            # No attempt, for DSM was not asked.
            withheld = LoginWithheld(self._app.name, error.message, life.next_attempt_at)
            self._world.observer.observe(withheld)
            return
        self._world.observer.observe(
            AttemptFailed(
                app=self._app.name,
                endpoint=self._app.endpoint.url,
                method=method,
                reason=error.reason,
                message=error.message,
                duration=self._world.clock.now() - began,
                consecutive_failures=life.failures,
                next_refresh_at=life.next_attempt_at,
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
