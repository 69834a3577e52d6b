"""Another credential at its source: noticed at once where it matters, and nothing else is."""

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
    kept = FakeApp()
    credential_watch = CredentialWatch(kept.running_app)
    kept.cell.publish(session_state.failed(kept.session, REFUSED, kept.clock.now(), Timing(), 0.0))
    credential_watch.remember(Secret(kept.credential.secret))
    kept.clock.advance(2)
    return kept, credential_watch


def hastened(kept: FakeApp) -> bool:
    """Return whether an attempt is due now."""
    return kept.session.next_attempt_at <= kept.clock.now()


async def test_a_changed_key_ends_the_wait_at_once() -> None:
    """An operator who has mended the key must not wait half an hour."""
    kept, credential_watch = refused()
    await credential_watch.work()
    assert not hastened(kept)
    assert credential_watch.due_at == kept.clock.now() + kept.app_context.credential_poll
    kept.clock.set(credential_watch.due_at)
    kept.credential.secret, kept.credential.version = "another", 2
    await credential_watch.work()
    assert hastened(kept)
    assert kept.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_touching_the_file_ends_nothing() -> None:
    """Else a deployment that rewrites the same key each minute would burn it in two hours."""
    kept, credential_watch = refused()
    for version in range(2, 50):
        kept.credential.version = version
        await credential_watch.work()
    assert not hastened(kept)


async def test_an_unchanged_source_is_not_read() -> None:
    """A look every two seconds must cost no more than a stat."""
    kept, credential_watch = refused()
    for _ in range(10):
        await credential_watch.work()
    assert kept.credential.reads == 1


async def test_a_source_that_only_reading_could_judge_is_not_read() -> None:
    """A command may ask its user for a passphrase: it is run for logins only."""
    kept, credential_watch = refused()
    kept.credential.version = None
    kept.credential.secret = "another"
    await credential_watch.work()
    assert kept.credential.reads == 0
    assert not hastened(kept)


async def test_a_source_that_cannot_be_read_is_looked_at_again() -> None:
    """A file is replaced in steps; what could not be read once is not taken for known."""
    kept, credential_watch = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    kept.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
    await credential_watch.work()
    assert not hastened(kept)
    kept.credential.error = None
    await credential_watch.work()
    assert hastened(kept)


async def test_each_refused_key_is_remembered_anew() -> None:
    """A second wrong key starts a wait of its own."""
    kept, credential_watch = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    credential_watch.remember(Secret("another"))
    await credential_watch.work()
    assert not hastened(kept)
    kept.credential.secret, kept.credential.version = "third", 3
    await credential_watch.work()
    assert hastened(kept)


def test_nothing_is_looked_at_while_nothing_stands_refused() -> None:
    """Ten thousand apps that are fine cost no look at all."""
    kept, credential_watch = refused()
    assert credential_watch.due_at <= kept.clock.now()
    kept.cell.publish(replace(kept.session, state=session_state.State.FRESH))
    assert credential_watch.due_at == NEVER


async def test_a_healthy_app_looks_when_it_is_asked_to() -> None:
    """A reload takes up a key that was replaced in its place, also from a command."""
    kept = FakeApp()
    credential_watch = CredentialWatch(kept.running_app)
    kept.credential.version = None
    credential_watch.remember(Secret(kept.credential.secret))
    kept.cell.publish(replace(kept.session, next_attempt_at=NEVER))
    credential_watch.look_now()
    assert credential_watch.due_at == ALWAYS
    await credential_watch.work()
    assert not hastened(kept)
    assert credential_watch.due_at == NEVER
    kept.credential.secret = "another"
    credential_watch.look_now()
    await credential_watch.work()
    assert hastened(kept)


async def test_an_app_that_has_not_logged_in_yet_has_nothing_to_compare() -> None:
    """Its first login reads the source anyway."""
    kept = FakeApp()
    credential_watch = CredentialWatch(kept.running_app)
    credential_watch.look_now()
    await credential_watch.work()
    assert kept.credential.reads == 0


async def test_the_last_used_credential_outlives_a_change_of_settings() -> None:
    """Else each reload would log in anew with the same key, or none with another."""
    kept, earlier = refused()
    later = CredentialWatch(kept.running_app)
    later.follow(earlier)
    later.look_now()
    await later.work()
    assert not hastened(kept)
    assert kept.observer.of(CredentialChanged) == []
    kept.credential.secret = "another"
    later.look_now()
    await later.work()
    assert hastened(kept)


class TestOvertaken:
    """A renewal that was under way when another credential was found does not swallow its login."""

    async def found(self) -> tuple[FakeApp, CredentialWatch]:
        """Return a healthy app at whose source another credential was just found."""
        kept = FakeApp()
        credential_watch = CredentialWatch(kept.running_app)
        credential_watch.remember(Secret(kept.credential.secret))
        kept.credential.secret = "another"
        credential_watch.look_now()
        await credential_watch.work()
        kept.cell.publish(
            replace(kept.session, state=session_state.State.FRESH, next_attempt_at=NEVER)
        )
        return kept, credential_watch

    async def test_the_renewal_is_followed_by_the_login(self) -> None:
        """Its outcome put the next attempt far off, and the old key may be taken back by then."""
        kept, credential_watch = await self.found()
        credential_watch.attempt_ended()
        assert credential_watch.due_at == ALWAYS
        await credential_watch.work()
        assert hastened(kept)
        assert kept.session.method is Method.AUTH

    async def test_a_refusal_of_the_one_before_is_followed_by_the_login(self) -> None:
        """Else a key that is mended while DSM is slow over the old one waits half an hour."""
        kept, credential_watch = await self.found()
        refused = Rejected(Reason.REJECTED, "401 Unauthorized")
        now = kept.clock.now()
        kept.cell.publish(session_state.failed(kept.session, refused, now, kept.app.timing, 0.0))
        credential_watch.attempt_ended()
        kept.clock.advance(kept.app.timing.retry_min)
        await credential_watch.work()
        assert hastened(kept)

    async def test_the_login_itself_is_followed_by_none(self) -> None:
        """One login with the new credential is enough."""
        kept, credential_watch = await self.found()
        credential_watch.remember(Secret("another"))
        credential_watch.attempt_ended()
        assert credential_watch.due_at == NEVER
        assert not hastened(kept)

    async def test_a_third_credential_that_was_used_meanwhile_is_followed_by_none(self) -> None:
        """The source is looked at again, and that settles it."""
        kept, credential_watch = await self.found()
        kept.credential.secret = "third"
        credential_watch.remember(Secret("third"))
        credential_watch.attempt_ended()
        await credential_watch.work()
        credential_watch.attempt_ended()
        assert credential_watch.due_at == NEVER
        assert not hastened(kept)

    async def test_an_unreadable_source_is_looked_at_again_after_the_next_renewal(self) -> None:
        """What is half replaced now is whole by then."""
        kept, credential_watch = await self.found()
        kept.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
        credential_watch.attempt_ended()
        await credential_watch.work()
        assert not hastened(kept)
        assert credential_watch.due_at == NEVER
        credential_watch.attempt_ended()
        assert credential_watch.due_at == ALWAYS
