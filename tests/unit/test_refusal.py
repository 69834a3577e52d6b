"""A refused credential: the wait for another one ends at once, and for nothing else."""

from dataclasses import replace

from kept import Kept

from refresherd import lifecycle
from refresherd.errors import Reason, Rejected, Retryable
from refresherd.events import CredentialChanged
from refresherd.lifecycle import NEVER
from refresherd.model import Secret, Timing
from refresherd.refusal import LOOK_EVERY, Refusal

REFUSED = Rejected(Reason.REJECTED, "bad key")


def refused() -> tuple[Kept, Refusal]:
    """Return an app whose key was refused at 1000."""
    kept = Kept()
    refusal = Refusal(kept.app, kept.cell, kept.credential, kept.world)
    kept.cell.publish(lifecycle.failed(kept.life, REFUSED, kept.clock.now(), Timing(), 0.0))
    refusal.remember(Secret(kept.credential.secret))
    return kept, refusal


def hastened(kept: Kept) -> bool:
    """Return whether an attempt is due now."""
    return kept.life.next_attempt_at <= kept.clock.now()


async def test_a_changed_key_ends_the_wait_at_once() -> None:
    """An operator who has mended the key must not wait half an hour."""
    kept, refusal = refused()
    await refusal.work()
    assert not hastened(kept)
    assert refusal.due_at == kept.clock.now() + LOOK_EVERY
    kept.clock.set(refusal.due_at)
    kept.credential.secret, kept.credential.version = "another", 2
    await refusal.work()
    assert hastened(kept)
    assert kept.observer.of(CredentialChanged) == [CredentialChanged("payments")]


async def test_touching_the_file_ends_nothing() -> None:
    """Else a deployment that rewrites the same key each minute would burn it in two hours."""
    kept, refusal = refused()
    for version in range(2, 50):
        kept.credential.version = version
        await refusal.work()
    assert not hastened(kept)


async def test_an_unchanged_source_is_not_read() -> None:
    """A look every two seconds must cost no more than a stat."""
    kept, refusal = refused()
    for _ in range(10):
        await refusal.work()
    assert kept.credential.reads == 1


async def test_a_source_that_only_reading_could_judge_is_not_read() -> None:
    """A command may ask its user for a passphrase: it is run for logins only."""
    kept, refusal = refused()
    kept.credential.version = None
    kept.credential.secret = "another"
    await refusal.work()
    assert kept.credential.reads == 0
    assert not hastened(kept)


async def test_a_source_that_cannot_be_read_is_looked_at_again() -> None:
    """A file is replaced in steps; what could not be read once is not taken for known."""
    kept, refusal = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    kept.credential.error = Retryable(Reason.CREDENTIAL, "permission denied")
    await refusal.work()
    assert not hastened(kept)
    kept.credential.error = None
    await refusal.work()
    assert hastened(kept)


async def test_each_refused_key_is_remembered_anew() -> None:
    """A second wrong key starts a wait of its own."""
    kept, refusal = refused()
    kept.credential.secret, kept.credential.version = "another", 2
    refusal.remember(Secret("another"))
    await refusal.work()
    assert not hastened(kept)
    kept.credential.secret, kept.credential.version = "third", 3
    await refusal.work()
    assert hastened(kept)


def test_nothing_is_looked_at_while_nothing_stands_refused() -> None:
    """Ten thousand apps that are fine cost no look at all."""
    kept, refusal = refused()
    assert refusal.due_at <= kept.clock.now()
    kept.cell.publish(replace(kept.life, state=lifecycle.State.FRESH))
    assert refusal.due_at == NEVER
