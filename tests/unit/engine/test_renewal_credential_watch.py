"""Another credential at its source is noticed at once where it matters."""

from dataclasses import replace

from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.events import CredentialChanged
from refresherd.domain.model import Method, Secret, Timing
from refresherd.domain.session_state import ALWAYS, NEVER
from refresherd.engine.renewal_credential import CredentialWatch
from support.fake_app import FakeApp

REFUSED = Rejected(Reason.REJECTED, "bad key")


def refused() -> tuple[FakeApp, CredentialWatch]:
    """Return an app whose key was refused at 1000."""
    app = FakeApp()
    credential_watch = CredentialWatch(app.running_app)
    app.cell.publish(session_state.failed(app.session, REFUSED, app.clock.now(), Timing(), 0.0))
    credential_watch.remember(Secret(app.credential.secret))
    app.clock.advance(2)
    return app, credential_watch


def hastened(app: FakeApp) -> bool:
    """Return whether an attempt is due now."""
    return app.session.next_attempt_at <= app.clock.now()


async def test_a_changed_key_ends_the_wait_at_once() -> None:
    """An operator who has corrected the key must not wait half an hour."""
    app, credential_watch = refused()
    await credential_watch.work()
    assert not hastened(app)
    assert credential_watch.due_at == app.clock.now() + app.app_context.credential_poll
    app.clock.set(credential_watch.due_at)
    app.credential.secret, app.credential.version = "another", 2
    await credential_watch.work()
    assert hastened(app)
    assert app.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_touching_the_file_does_not_end_the_wait() -> None:
    """A deployment that rewrites the same key each minute would burn it in two hours."""
    app, credential_watch = refused()
    for version in range(2, 50):
        app.credential.version = version
        await credential_watch.work()
    assert not hastened(app)


async def test_an_unchanged_source_is_not_read() -> None:
    """A look every two seconds must cost no more than a stat."""
    app, credential_watch = refused()
    for _ in range(10):
        await credential_watch.work()
    assert app.credential.reads == 1


async def test_a_source_without_a_stamp_is_not_read() -> None:
    """A command may ask its user for a passphrase, so it runs for logins only."""
    app, credential_watch = refused()
    app.credential.version = None
    app.credential.secret = "another"
    await credential_watch.work()
    assert app.credential.reads == 0
    assert not hastened(app)


async def test_a_source_that_cannot_be_read_is_looked_at_again() -> None:
    """A file may be replaced in steps; a failed read must not count as seen."""
    app, credential_watch = refused()
    app.credential.secret, app.credential.version = "another", 2
    app.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
    await credential_watch.work()
    assert not hastened(app)
    app.credential.error = None
    await credential_watch.work()
    assert hastened(app)


async def test_each_refused_key_is_remembered() -> None:
    """A second wrong key starts a wait of its own."""
    app, credential_watch = refused()
    app.credential.secret, app.credential.version = "another", 2
    credential_watch.remember(Secret("another"))
    await credential_watch.work()
    assert not hastened(app)
    app.credential.secret, app.credential.version = "third", 3
    await credential_watch.work()
    assert hastened(app)


def test_the_source_is_left_alone_while_nothing_is_refused() -> None:
    """Ten thousand healthy apps must cost nothing."""
    app, credential_watch = refused()
    assert credential_watch.due_at <= app.clock.now()
    app.cell.publish(replace(app.session, state=session_state.State.FRESH))
    assert credential_watch.due_at == NEVER


async def test_a_healthy_app_looks_on_request() -> None:
    """A reload notices a key that was replaced under the same name, also one from a command."""
    app = FakeApp()
    credential_watch = CredentialWatch(app.running_app)
    app.credential.version = None
    credential_watch.remember(Secret(app.credential.secret))
    app.cell.publish(replace(app.session, next_attempt_at=NEVER))
    credential_watch.look_now()
    assert credential_watch.due_at == ALWAYS
    await credential_watch.work()
    assert not hastened(app)
    assert credential_watch.due_at == NEVER
    app.credential.secret = "another"
    credential_watch.look_now()
    await credential_watch.work()
    assert hastened(app)


async def test_an_app_that_has_not_logged_in_yet_has_nothing_to_compare() -> None:
    """Its first login reads the source anyway."""
    app = FakeApp()
    credential_watch = CredentialWatch(app.running_app)
    credential_watch.look_now()
    await credential_watch.work()
    assert app.credential.reads == 0


async def test_the_last_used_credential_outlives_a_change_of_settings() -> None:
    """Otherwise a reload would log in again with the same key, or miss another one."""
    app, earlier = refused()
    later = CredentialWatch(app.running_app)
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

    async def found(self) -> tuple[FakeApp, CredentialWatch]:
        """Return a healthy app at whose source another credential was just found."""
        app = FakeApp()
        credential_watch = CredentialWatch(app.running_app)
        credential_watch.remember(Secret(app.credential.secret))
        app.credential.secret = "another"
        credential_watch.look_now()
        await credential_watch.work()
        app.cell.publish(
            replace(app.session, state=session_state.State.FRESH, next_attempt_at=NEVER)
        )
        return app, credential_watch

    async def test_the_renewal_is_followed_by_the_login(self) -> None:
        """The renewal put the next attempt far off, and the old key may be revoked by then."""
        app, credential_watch = await self.found()
        credential_watch.attempt_ended()
        assert credential_watch.due_at == ALWAYS
        await credential_watch.work()
        assert hastened(app)
        assert app.session.method is Method.AUTH

    async def test_a_refusal_of_the_old_key_is_followed_by_the_login(self) -> None:
        """A key corrected while DSM is slow to refuse the old one must not wait half an hour."""
        app, credential_watch = await self.found()
        refused = Rejected(Reason.REJECTED, "401 Unauthorized")
        now = app.clock.now()
        app.cell.publish(session_state.failed(app.session, refused, now, app.app.timing, 0.0))
        credential_watch.attempt_ended()
        app.clock.advance(app.app.timing.retry_min)
        await credential_watch.work()
        assert hastened(app)

    async def test_the_login_itself_is_not_followed_by_another(self) -> None:
        """One login with the new credential is enough."""
        app, credential_watch = await self.found()
        credential_watch.remember(Secret("another"))
        credential_watch.attempt_ended()
        assert credential_watch.due_at == NEVER
        assert not hastened(app)

    async def test_a_third_credential_used_meanwhile_is_not_followed_by_a_login(self) -> None:
        """The source is looked at again, and holds the one that was used."""
        app, credential_watch = await self.found()
        app.credential.secret = "third"
        credential_watch.remember(Secret("third"))
        credential_watch.attempt_ended()
        await credential_watch.work()
        credential_watch.attempt_ended()
        assert credential_watch.due_at == NEVER
        assert not hastened(app)

    async def test_an_unreadable_source_is_looked_at_again_after_the_next_renewal(self) -> None:
        """A file that was half replaced is complete by then."""
        app, credential_watch = await self.found()
        app.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
        credential_watch.attempt_ended()
        await credential_watch.work()
        assert not hastened(app)
        assert credential_watch.due_at == NEVER
        credential_watch.attempt_ended()
        assert credential_watch.due_at == ALWAYS
