"""Another credential at its source: noticed at once where it matters, and nothing else is."""

from dataclasses import replace

from kept import Kept

from refresherd.domain import session_state
from refresherd.domain.errors import Reason, Rejected, Retryable
from refresherd.domain.events import CredentialChanged
from refresherd.domain.model import Method, Secret, Timing
from refresherd.domain.session_state import ALWAYS, NEVER
from refresherd.engine.credential_watch import LOOK_EVERY, Rotation

REFUSED = Rejected(Reason.REJECTED, "bad key")


def refused() -> tuple[Kept, Rotation]:
    """Return an app whose key was refused at 1000."""
    kept = Kept()
    rotation = Rotation(kept.app, kept.cell, kept.credential, kept.world)
    kept.cell.publish(session_state.failed(kept.life, REFUSED, kept.clock.now(), Timing(), 0.0))
    rotation.remember(Secret(kept.credential.secret))
    kept.clock.advance(2)
    return kept, rotation


def hastened(kept: Kept) -> bool:
    """Return whether an attempt is due now."""
    return kept.life.next_attempt_at <= kept.clock.now()


async def test_a_changed_key_ends_the_wait_at_once() -> None:
    """An operator who has mended the key must not wait half an hour."""
    kept, rotation = refused()
    await rotation.work()
    assert not hastened(kept)
    assert rotation.due_at == kept.clock.now() + LOOK_EVERY
    kept.clock.set(rotation.due_at)
    kept.credential.secret, kept.credential.version = "another", 2
    await rotation.work()
    assert hastened(kept)
    assert kept.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_touching_the_file_ends_nothing() -> None:
    """Else a deployment that rewrites the same key each minute would burn it in two hours."""
    kept, rotation = refused()
    for version in range(2, 50):
        kept.credential.version = version
        await rotation.work()
    assert not hastened(kept)


async def test_an_unchanged_source_is_not_read() -> None:
    """A look every two seconds must cost no more than a stat."""
    kept, rotation = refused()
    for _ in range(10):
        await rotation.work()
    assert kept.credential.reads == 1


async def test_a_source_that_only_reading_could_judge_is_not_read() -> None:
    """A command may ask its user for a passphrase: it is run for logins only."""
    kept, rotation = refused()
    kept.credential.version = None
    kept.credential.secret = "another"
    await rotation.work()
    assert kept.credential.reads == 0
    assert not hastened(kept)


async def test_a_source_that_cannot_be_read_is_looked_at_again() -> None:
    """A file is replaced in steps; what could not be read once is not taken for known."""
    kept, rotation = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    kept.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
    await rotation.work()
    assert not hastened(kept)
    kept.credential.error = None
    await rotation.work()
    assert hastened(kept)


async def test_each_refused_key_is_remembered_anew() -> None:
    """A second wrong key starts a wait of its own."""
    kept, rotation = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    rotation.remember(Secret("another"))
    await rotation.work()
    assert not hastened(kept)
    kept.credential.secret, kept.credential.version = "third", 3
    await rotation.work()
    assert hastened(kept)


def test_nothing_is_looked_at_while_nothing_stands_refused() -> None:
    """Ten thousand apps that are fine cost no look at all."""
    kept, rotation = refused()
    assert rotation.due_at <= kept.clock.now()
    kept.cell.publish(replace(kept.life, state=session_state.State.FRESH))
    assert rotation.due_at == NEVER


async def test_a_healthy_app_looks_when_it_is_asked_to() -> None:
    """A reload takes up a key that was replaced in its place, also from a command."""
    kept = Kept()
    rotation = Rotation(kept.app, kept.cell, kept.credential, kept.world)
    kept.credential.version = None
    rotation.remember(Secret(kept.credential.secret))
    kept.cell.publish(replace(kept.life, next_attempt_at=NEVER))
    rotation.ask()
    assert rotation.due_at == ALWAYS
    await rotation.work()
    assert not hastened(kept)
    assert rotation.due_at == NEVER
    kept.credential.secret = "another"
    rotation.ask()
    await rotation.work()
    assert hastened(kept)


async def test_an_app_that_has_not_logged_in_yet_has_nothing_to_compare() -> None:
    """Its first login reads the source anyway."""
    kept = Kept()
    rotation = Rotation(kept.app, kept.cell, kept.credential, kept.world)
    rotation.ask()
    await rotation.work()
    assert kept.credential.reads == 0


async def test_the_last_used_credential_outlives_a_change_of_settings() -> None:
    """Else each reload would log in anew with the same key, or none with another."""
    kept, earlier = refused()
    later = Rotation(kept.app, kept.cell, kept.credential, kept.world)
    later.follow(earlier)
    later.ask()
    await later.work()
    assert not hastened(kept)
    assert kept.observer.of(CredentialChanged) == []
    kept.credential.secret = "another"
    later.ask()
    await later.work()
    assert hastened(kept)


class TestOvertaken:
    """A renewal that was under way when another credential was found does not swallow its login."""

    async def found(self) -> tuple[Kept, Rotation]:
        """Return a healthy app at whose source another credential was just found."""
        kept = Kept()
        rotation = Rotation(kept.app, kept.cell, kept.credential, kept.world)
        rotation.remember(Secret(kept.credential.secret))
        kept.credential.secret = "another"
        rotation.ask()
        await rotation.work()
        kept.cell.publish(
            replace(kept.life, state=session_state.State.FRESH, next_attempt_at=NEVER)
        )
        return kept, rotation

    async def test_the_renewal_is_followed_by_the_login(self) -> None:
        """Its outcome put the next attempt far off, and the old key may be taken back by then."""
        kept, rotation = await self.found()
        rotation.overtaken()
        assert rotation.due_at == ALWAYS
        await rotation.work()
        assert hastened(kept)
        assert kept.life.method is Method.AUTH

    async def test_a_refusal_of_the_one_before_is_followed_by_the_login(self) -> None:
        """Else a key that is mended while DSM is slow over the old one waits half an hour."""
        kept, rotation = await self.found()
        refused = Rejected(Reason.REJECTED, "401 Unauthorized")
        now = kept.clock.now()
        kept.cell.publish(session_state.failed(kept.life, refused, now, kept.app.timing, 0.0))
        rotation.overtaken()
        kept.clock.advance(kept.app.timing.retry_min)
        await rotation.work()
        assert hastened(kept)

    async def test_the_login_itself_is_followed_by_none(self) -> None:
        """One login with the new credential is enough."""
        kept, rotation = await self.found()
        rotation.remember(Secret("another"))
        rotation.overtaken()
        assert rotation.due_at == NEVER
        assert not hastened(kept)

    async def test_a_third_credential_that_was_used_meanwhile_is_followed_by_none(self) -> None:
        """The source is looked at again, and that settles it."""
        kept, rotation = await self.found()
        kept.credential.secret = "third"
        rotation.remember(Secret("third"))
        rotation.overtaken()
        await rotation.work()
        rotation.overtaken()
        assert rotation.due_at == NEVER
        assert not hastened(kept)

    async def test_an_unreadable_source_is_looked_at_again_after_the_next_renewal(self) -> None:
        """What is half replaced now is whole by then."""
        kept, rotation = await self.found()
        kept.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
        rotation.overtaken()
        await rotation.work()
        assert not hastened(kept)
        assert rotation.due_at == NEVER
        rotation.overtaken()
        assert rotation.due_at == ALWAYS
