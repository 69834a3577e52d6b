"""Another credential at its source is noticed at once where it matters."""

from dataclasses import replace

import pytest

from refresherd.domain import session_state
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable
from refresherd.domain.events import CredentialChanged
from refresherd.domain.model import Instant, Method, Secret, Timing
from refresherd.domain.session_state import ALWAYS, NEVER
from refresherd.engine.renewal_credential import RenewalCredential
from support.fake_app import FakeApp

REFUSED = Rejected(Reason.REJECTED, "bad key")


def refused() -> tuple[FakeApp, RenewalCredential]:
    """Return an app whose key was refused at 1000."""
    app = FakeApp()
    renewal_credential = RenewalCredential(app.running_app)
    app.cell.publish(session_state.failed(app.session, REFUSED, app.clock.now(), Timing(), 0.0))
    renewal_credential.remember(Secret(app.credential.secret))
    app.clock.advance(2)
    return app, renewal_credential


def hastened(app: FakeApp) -> bool:
    """Return whether an attempt is due now."""
    return app.session.next_attempt_at <= app.clock.now()


async def test_a_changed_key_ends_the_wait_at_once() -> None:
    """An operator who has corrected the key must not wait half an hour."""
    app, renewal_credential = refused()
    await renewal_credential.work()
    assert not hastened(app)
    assert renewal_credential.due_at == app.clock.now() + app.app_context.credential_poll
    app.clock.set(renewal_credential.due_at)
    app.credential.secret, app.credential.version = "another", 2
    await renewal_credential.work()
    assert hastened(app)
    assert app.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_touching_the_file_does_not_end_the_wait() -> None:
    """A deployment that rewrites the same key each minute would burn it in two hours."""
    app, renewal_credential = refused()
    for version in range(2, 50):
        app.credential.version = version
        await renewal_credential.work()
    assert not hastened(app)


async def test_an_unchanged_source_is_not_read() -> None:
    """A look every two seconds must cost no more than a stat."""
    app, renewal_credential = refused()
    for _ in range(10):
        await renewal_credential.work()
    assert app.credential.reads == 1


async def test_a_source_without_a_stamp_is_not_read() -> None:
    """A command may ask its user for a passphrase, so it runs for logins only."""
    app, renewal_credential = refused()
    app.credential.version = None
    app.credential.secret = "another"
    await renewal_credential.work()
    assert app.credential.reads == 0
    assert not hastened(app)


async def test_a_source_that_cannot_be_read_is_looked_at_again() -> None:
    """A file may be replaced in steps; a failed read must not count as seen."""
    app, renewal_credential = refused()
    app.credential.secret, app.credential.version = "another", 2
    app.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
    await renewal_credential.work()
    assert not hastened(app)
    app.credential.error = None
    await renewal_credential.work()
    assert hastened(app)


async def test_each_refused_key_is_remembered() -> None:
    """A second wrong key starts a wait of its own."""
    app, renewal_credential = refused()
    app.credential.secret, app.credential.version = "another", 2
    renewal_credential.remember(Secret("another"))
    await renewal_credential.work()
    assert not hastened(app)
    app.credential.secret, app.credential.version = "third", 3
    await renewal_credential.work()
    assert hastened(app)


def test_the_source_is_left_alone_while_nothing_is_refused() -> None:
    """Ten thousand healthy apps must cost nothing."""
    app, renewal_credential = refused()
    assert renewal_credential.due_at <= app.clock.now()
    app.cell.publish(replace(app.session, state=session_state.State.FRESH))
    assert renewal_credential.due_at == NEVER


async def test_a_healthy_app_looks_on_request() -> None:
    """A reload notices a key that was replaced under the same name, also one from a command."""
    app = FakeApp()
    renewal_credential = RenewalCredential(app.running_app)
    app.credential.version = None
    renewal_credential.remember(Secret(app.credential.secret))
    app.cell.publish(replace(app.session, next_attempt_at=NEVER))
    renewal_credential.look_now()
    assert renewal_credential.due_at == ALWAYS
    await renewal_credential.work()
    assert not hastened(app)
    assert renewal_credential.due_at == NEVER
    app.credential.secret = "another"
    renewal_credential.look_now()
    await renewal_credential.work()
    assert hastened(app)


async def test_an_app_that_has_not_logged_in_yet_has_nothing_to_compare() -> None:
    """Its first login reads the source anyway."""
    app = FakeApp()
    renewal_credential = RenewalCredential(app.running_app)
    renewal_credential.look_now()
    await renewal_credential.work()
    assert app.credential.reads == 0


async def test_the_last_used_credential_outlives_a_change_of_settings() -> None:
    """Otherwise a reload would log in again with the same key, or miss another one."""
    app, earlier = refused()
    later = RenewalCredential(app.running_app)
    later.follow(earlier)
    later.look_now()
    await later.work()
    assert not hastened(app)
    assert app.observer.of(CredentialChanged) == []
    app.credential.secret = "another"
    later.look_now()
    await later.work()
    assert hastened(app)


class TestAttemptEnded:
    """A renewal that was under way when another key was found does not cancel its login."""

    async def found(self) -> tuple[FakeApp, RenewalCredential]:
        """Return a healthy app at whose source another credential was just found."""
        app = FakeApp()
        renewal_credential = RenewalCredential(app.running_app)
        renewal_credential.remember(Secret(app.credential.secret))
        app.credential.secret = "another"
        renewal_credential.look_now()
        await renewal_credential.work()
        app.cell.publish(
            replace(app.session, state=session_state.State.FRESH, next_attempt_at=NEVER)
        )
        return app, renewal_credential

    async def test_the_renewal_is_followed_by_the_login(self) -> None:
        """The renewal put the next attempt far off, and the old key may be revoked by then."""
        app, renewal_credential = await self.found()
        renewal_credential.attempt_ended()
        assert renewal_credential.due_at == ALWAYS
        await renewal_credential.work()
        assert hastened(app)
        assert app.session.method is Method.AUTH

    async def test_a_refusal_of_the_old_key_is_followed_by_the_login(self) -> None:
        """A key corrected while DSM is slow to refuse the old one must not wait half an hour."""
        app, renewal_credential = await self.found()
        refused = Rejected(Reason.REJECTED, "401 Unauthorized")
        now = app.clock.now()
        app.cell.publish(session_state.failed(app.session, refused, now, app.app.timing, 0.0))
        renewal_credential.attempt_ended()
        app.clock.advance(app.app.timing.retry_min)
        await renewal_credential.work()
        assert hastened(app)

    async def test_the_login_itself_is_not_followed_by_another(self) -> None:
        """One login with the new credential is enough."""
        app, renewal_credential = await self.found()
        renewal_credential.remember(Secret("another"))
        renewal_credential.attempt_ended()
        assert renewal_credential.due_at == NEVER
        assert not hastened(app)

    async def test_a_third_credential_used_meanwhile_is_not_followed_by_a_login(self) -> None:
        """The source is looked at again, and holds the one that was used."""
        app, renewal_credential = await self.found()
        app.credential.secret = "third"
        renewal_credential.remember(Secret("third"))
        renewal_credential.attempt_ended()
        await renewal_credential.work()
        renewal_credential.attempt_ended()
        assert renewal_credential.due_at == NEVER
        assert not hastened(app)

    async def test_an_unreadable_source_is_looked_at_again_after_the_next_renewal(self) -> None:
        """A file that was half replaced is complete by then."""
        app, renewal_credential = await self.found()
        app.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
        renewal_credential.attempt_ended()
        await renewal_credential.work()
        assert not hastened(app)
        assert renewal_credential.due_at == NEVER
        renewal_credential.attempt_ended()
        assert renewal_credential.due_at == ALWAYS


def failing(error: DsmError) -> tuple[FakeApp, RenewalCredential]:
    """Return an app whose first attempt has just failed, and which tries again in half a minute."""
    app = FakeApp()
    timing = Timing(retry_min=1.0)
    renewal_credential = RenewalCredential(app.running_app)
    failed = session_state.failed(app.session, error, app.clock.now(), timing, 0.0)
    app.cell.publish(replace(failed, next_attempt_at=Instant(app.clock.now() + 30)))
    return app, renewal_credential


@pytest.mark.parametrize("reason", [Reason.CREDENTIAL, Reason.TLS])
async def test_a_file_that_appears_ends_the_wait(reason: Reason) -> None:
    """Somebody who has mounted a directory or installed a CA must not wait for half a minute."""
    app, renewal_credential = failing(Retryable(reason, "payments.key: No such file"))
    assert renewal_credential.due_at <= app.clock.now(), "what is there is known at once"
    await renewal_credential.work()
    assert not hastened(app)
    app.clock.set(renewal_credential.due_at)
    app.credential.files_version = 2
    await renewal_credential.work()
    assert hastened(app)
    assert app.credential.reads == 0, "the attempt reads it"


async def test_a_file_that_changes_at_each_look_hastens_nothing_below_the_shortest_wait() -> None:
    """Attempts stay bounded by `retry_min`, whatever rewrites the file."""
    app, renewal_credential = failing(Retryable(Reason.TLS, "unknown CA"))
    failed_at = app.clock.now()
    await renewal_credential.work()
    app.credential.files_version = 2
    await renewal_credential.work()
    assert app.session.next_attempt_at == failed_at + 1.0


async def test_a_changed_file_sends_no_refused_key_again() -> None:
    """A login that a refusal has put off waits, though a CA was changed meanwhile."""
    app, renewal_credential = failing(REFUSED)
    login_at = app.session.login_at
    failure = replace(app.session.last_failure, reason=Reason.TLS)  # type: ignore[type-var] # it failed
    app.cell.publish(replace(app.session, last_failure=failure, next_attempt_at=login_at))
    for version in (1, 2):
        app.credential.files_version = version
        await renewal_credential.work()
    assert app.session.next_attempt_at == login_at


def test_files_are_left_alone_while_they_are_not_the_trouble() -> None:
    """A DSM that is away for an hour must not cost 1,800 looks at each key."""
    _, renewal_credential = failing(Retryable(Reason.CONNECT, "refused"))
    assert renewal_credential.due_at == NEVER


async def test_apps_that_wait_do_not_look_in_step() -> None:
    """Ten thousand of them may wait for one directory, and the event loop must go on."""
    app, renewal_credential = failing(Retryable(Reason.CREDENTIAL, "payments.key: No such file"))
    app.rng = 0.9
    await renewal_credential.work()
    poll = app.app_context.credential_poll
    assert renewal_credential.due_at == pytest.approx(app.clock.now() + 0.55 * poll)
