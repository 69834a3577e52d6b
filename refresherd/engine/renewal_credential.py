"""What an app continues from: a stored session, its live one, or its credential."""

from collections.abc import Hashable

from refresherd.domain import operator_transitions, session_state
from refresherd.domain.errors import Retryable
from refresherd.domain.events import CredentialChanged, SessionResumed, Warned
from refresherd.domain.model import Instant, Method, Secret, Token
from refresherd.domain.session_state import ALWAYS, NEVER, SessionState, State
from refresherd.engine.context import RunningApp
from refresherd.engine.session_termination import SessionTermination

UNREADABLE = Secret("")
"""Stands for a credential that could not be read. No source ever holds it."""


class RenewalCredential:
    """What each attempt of an app is made with, and whether its source holds another credential.

    An app that has no way back but its stored sessions "logs in" by a reauth from the latest
    one, until DSM declares that one dead. A new bootstrap token comes first; if DSM refuses it,
    the app still continues from its latest session.

    While DSM refuses the credential, `work` looks at its source often, otherwise only when
    asked. So the wait after a refusal ends as soon as an operator replaces the credential. The
    source is read only when its stamp has changed, or when `look_now` asks for it. Only a
    different content ends the wait: touching the file must not burn the same credential again.

    While attempts fail because of a file on this host, `work` looks for changed files as often. Any
    change ends the wait then: those attempts never reached DSM.
    """

    __slots__ = ("_app", "_files", "_forced", "_look_at", "_refused", "_stamp", "_unused", "_used")

    def __init__(self, app: RunningApp) -> None:
        self._app = app
        self._used: Secret | None = None
        self._refused = UNREADABLE
        self._unused: Secret | None = None
        """Another credential that the source held at the last look, until it is used."""
        self._stamp: Hashable = None
        self._files: Hashable = None
        """The files' stamp at the last look, None before the first."""
        self._forced = False
        self._look_at = ALWAYS

    @property
    def due_at(self) -> Instant:
        """When to look at the source and the files, NEVER while nothing is wrong with them."""
        if self._forced:
            return ALWAYS
        session = self._app.session
        if session.state is State.REJECTED or operator_transitions.failed_for_local_files(session):
            return self._look_at
        return NEVER

    @property
    def used(self) -> Secret | None:
        """The credential with which DSM was asked last, None before the first time."""
        return self._used

    async def choose(self, session: SessionState) -> tuple[Method, Secret]:
        """Return how to make the next attempt, and with what.

        Raises Retryable if that cannot be read.
        """
        # 1. A live session is renewed by its own token.
        if session.token is not None and session.method is not Method.AUTH:
            return session.method, session.token.access_token
        try:
            credential = await self._app.ports.credential.read()
        except Retryable:
            # 2. A bootstrap token may be deleted once a session goes back to it.
            latest = await self._latest(session)
            if latest is None:
                raise
            self.remember(UNREADABLE)
            return Method.REAUTH, latest
        # 3. The latest session, unless a bootstrap token is new: refused ones are not.
        bootstrap = None if credential == self._refused else credential
        latest = await self._latest(session, bootstrap)
        self.remember(credential)
        if latest is not None:
            return Method.REAUTH, latest
        # 4. A login.
        return Method.AUTH, credential

    async def refused(self, session: SessionState, credential: Secret) -> bool:
        """Note that DSM refused a credential; return whether there is a session to try instead."""
        self._refused = credential
        return await self._latest(session) is not None

    def remember(self, credential: Secret) -> None:
        """Take note that DSM is asked with this credential."""
        self._used = credential
        self._stamp = None
        if credential == self._unused:
            self._unused = None

    def attempt_ended(self) -> None:
        """Look again if another credential was found while the attempt was under way.

        The attempt's outcome has put off the login that the other credential made due.
        """
        if self._unused is not None:
            self.look_now()

    def follow(self, earlier: "RenewalCredential") -> None:
        """Take over what was known under the app's earlier settings."""
        self._used = earlier._used  # noqa: SLF001  # of the same class

    def look_now(self) -> None:
        """Look at the source on the next call of `work`, even if DSM has refused nothing."""
        self._forced = True

    async def work(self) -> None:
        """Make an attempt due if the source holds another credential, or a file has changed."""
        forced, self._forced = self._forced, False
        if operator_transitions.failed_for_local_files(self._app.session):
            await self._look_at_files()
        if self._used is not None and (forced or self._app.session.state is State.REJECTED):
            await self._look(forced=forced)
        # At random times, since ten thousand apps may wait for one directory.
        pause = self._app.ports.credential_poll * (1 - self._app.rand() / 2)
        self._look_at = Instant(self._app.now() + pause)

    async def _look_at_files(self) -> None:
        files = await self._app.ports.credential.files()
        changed = self._files is not None and files != self._files
        self._files = files
        if changed:
            session, now = self._app.session, self._app.now()
            timing = self._app.settings.timing
            self._app.publish(operator_transitions.files_changed(session, now, timing))

    async def _look(self, *, forced: bool) -> None:
        stamp = await self._app.ports.credential.stamp()
        if not forced and (stamp is None or stamp == self._stamp):
            return
        try:
            found = await self._app.ports.credential.read()
        except Retryable:
            return  # it may be half replaced; the next look reads it again
        self._stamp = stamp
        self._unused = None if found == self._used else found
        if self._unused is not None:
            session, now = self._app.session, self._app.now()
            timing = self._app.settings.timing
            self._app.publish(operator_transitions.credential_changed(session, now, timing))
            self._app.observe(CredentialChanged(self._app.name))

    async def _latest(
        self, session: SessionState, bootstrap: Secret | None = None
    ) -> Secret | None:
        """Return the token of an irreplaceable session, None if there is none.

        With `bootstrap`, only one that goes back to it.
        """
        store = self._app.ports.session_store
        if store is None or not store.irreplaceable or session.dead:
            return None
        stored = await store.load()
        if bootstrap is not None and bootstrap.fingerprint() != store.credential:
            return None
        if session.token is not None:
            return session.token.access_token
        return stored[0].access_token if stored else None


async def resume(
    app: RunningApp, renewal_credential: RenewalCredential, termination: SessionTermination
) -> bool:
    """Publish a stored session as the app's, without asking DSM; return False if there is none.

    A session that has expired, or was obtained with another credential, is dropped. A
    credential that cannot be read now is no reason to drop it: the file may have been deleted,
    or a vault may be locked. A session of unknown age is left for a reauth.
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
    try:
        credential = await app.ports.credential.read()
    except Retryable:
        credential = UNREADABLE
    now = app.now()
    if fault := _fault(newest, stored[0].credential, credential, now):
        app.observe(Warned(f"the stored session is dropped: {fault}", app.name))
        await store.remove()
        app.publish(session_state.with_generation(app.session, newest.generation))
        return False
    store.begin(stored[0].credential)
    renewal_credential.remember(credential)
    session = session_state.resumed(app.session, newest, now, app.settings.timing, app.rand())
    if app.session.by_operator:  # an operator wants a new session, whatever was stored
        session = operator_transitions.refresh_requested(session, now, app.settings.timing)
    app.publish(session)
    next_at = session.next_attempt_at
    app.observe(SessionResumed(app.name, newest.generation, newest.expires_at, next_at))
    for token in older:
        # A session that was kept alive is stored with each of its expiries.
        if token.expires_at > now and token.access_token != newest.access_token:
            termination.retire(token)
    return True


def _fault(token: Token, fingerprint: str, credential: Secret, now: Instant) -> str:
    """Return why a stored session cannot be resumed, "" if it can."""
    if token.expires_at <= now:
        return "it has expired"
    if credential != UNREADABLE and credential.fingerprint() != fingerprint:
        return "the credential has changed"
    return ""
