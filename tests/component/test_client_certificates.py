"""The watch on client certificates, on real files and with time that a test moves."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from refresherd.adapters.dsm.client_certificates import LOOK_SECONDS, CertificateWatch
from refresherd.domain import certificates
from refresherd.domain.certificates import DAY, Validity
from refresherd.domain.events import CertificateExpires, CertificateRead
from refresherd.domain.model import ApiKeyFile, App, Certificate, Endpoint
from refresherd.engine.context import Context
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import Authority
from support.fake_app import running
from support.fakes import ENTITY_ID, FakeClock, FakeSchedule, RecordingObserver, settle

ENDPOINT = Endpoint("https://dsm.example.com")


@dataclass
class Watching:
    """A certificate app, the watch on its certificate, and what it reports."""

    directory: Path
    authority: Authority
    cert_file: Path
    clock: FakeClock
    schedule: FakeSchedule
    observer: RecordingObserver
    executor: KeyedExecutor
    watch: CertificateWatch

    async def pass_days(self, days: float) -> None:
        """Let time pass, and the watch look once more at the end."""
        self.clock.advance(days * DAY)
        await self.look()

    async def look(self) -> None:
        """Let the watch look, which takes a thread."""
        await self.schedule.advance(LOOK_SECONDS)
        await self.looked()

    async def looked(self) -> None:
        """Return once the look under way has ended."""
        await self.executor.call(self.directory, int)
        await settle()

    def renew(self, days: int) -> float:
        """Put a new certificate in the file; return when it expires."""
        self.authority.issue("payments", days)[0].rename(self.cert_file)
        return certificates.dates(self.cert_file.read_bytes()).expires_at


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    """Watch a certificate that expires in 40 days."""
    authority = Authority(tmp_path)
    cert_file, key_file = authority.issue("payments", 40)
    expires_at = certificates.dates(cert_file.read_bytes()).expires_at
    clock = FakeClock(1000.0, offset=expires_at - 40 * DAY - 1000.0)
    schedule, observer, executor = FakeSchedule(clock), RecordingObserver(), KeyedExecutor()
    apps = [
        App("payments", ENDPOINT, Certificate(ENTITY_ID, cert_file, key_file)),
        App("billing", ENDPOINT, ApiKeyFile(tmp_path / "billing.key")),
    ]
    context = Context(clock, schedule, observer, lambda: 0.0)
    watch = CertificateWatch(apps, context, executor)
    parts = (clock, schedule, observer, executor, watch)
    return Watching(cert_file.parent, authority, cert_file, *parts)


async def test_the_expiry_is_known_from_the_first_look(watching: Watching) -> None:
    """The metric needs it, and nobody needs a line in the log."""
    expires_at = certificates.dates(watching.cert_file.read_bytes()).expires_at
    async with running(watching.watch.run()):
        await watching.looked()
        await watching.look()
    read = CertificateRead("payments", str(watching.cert_file), expires_at)
    assert watching.observer.events == [read]


async def test_it_is_reported_once_at_each_step_towards_the_end(watching: Watching) -> None:
    """Two weeks before the end, a day before, and when it has expired."""
    reports: list[tuple[int, Validity]] = []
    async with running(watching.watch.run()):
        await watching.looked()
        for day in range(1, 42):
            await watching.pass_days(0.999)
            seen = watching.observer.of(CertificateExpires)[len(reports) :]
            reports += [(day, report.validity) for report in seen]
    assert reports == [
        (27, Validity.EXPIRES_SOON),
        (40, Validity.LAST_DAY),
        (41, Validity.EXPIRED),
    ]
    last = watching.observer.of(CertificateExpires)[-1]
    assert last.message.startswith("the client certificate expired at ")


async def test_a_renewed_file_is_noticed(watching: Watching) -> None:
    """The metric follows, and the next warning counts from the new end."""
    async with running(watching.watch.run()):
        await watching.looked()
        await watching.pass_days(39.5)
        expires_at = watching.renew(400)
        await watching.look()
        assert watching.observer.of(CertificateRead)[-1].not_after == expires_at
        before = len(watching.observer.of(CertificateExpires))
        await watching.pass_days(300)
    assert len(watching.observer.of(CertificateExpires)) == before


async def test_a_file_that_is_replaced_by_one_that_ends_soon_is_reported(
    watching: Watching,
) -> None:
    """Somebody copied the wrong file, and nobody would notice until it expires."""
    async with running(watching.watch.run()):
        await watching.looked()
        await watching.pass_days(30)
        watching.renew(39)
        await watching.look()
    reports = [report.validity for report in watching.observer.of(CertificateExpires)]
    assert reports == [Validity.EXPIRES_SOON] * 2


async def test_a_missing_or_broken_file_keeps_the_last_expiry(watching: Watching) -> None:
    """The attempts that need the file say what is wrong with it."""
    async with running(watching.watch.run()):
        await watching.looked()
        watching.cert_file.write_text("not a certificate")
        await watching.look()
        watching.cert_file.unlink()
        await watching.look()
    assert len(watching.observer.events) == 1


async def test_a_reload_changes_what_is_watched(watching: Watching) -> None:
    """Apps come and go, and each reload reports what expires soon."""
    async with running(watching.watch.run()):
        await watching.looked()
        await watching.pass_days(30)
        assert len(watching.observer.of(CertificateExpires)) == 1
        watching.watch.follow([])
        await watching.pass_days(30)
    assert len(watching.observer.of(CertificateExpires)) == 1
