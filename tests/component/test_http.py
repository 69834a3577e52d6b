"""The HTTP listener over loopback, as Prometheus, Kubernetes and people use it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession

from refresherd.adapters.web.listener import HttpListener
from refresherd.adapters.web.pages import Pages
from refresherd.adapters.web.recent import Recent
from refresherd.domain import session_state
from refresherd.domain.errors import Reason
from refresherd.domain.model import ApiKeyFile, App, Endpoint, Instant, Timing
from refresherd.domain.readiness import AppStatus, OutputStatus
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import Failure
from refresherd.host.admission import Admission
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import FakeClock, RecordingObserver, grants

NOW = Instant(1000)
APP = App("payments", Endpoint("https://dsm.example"), ApiKeyFile(Path("key")))
LIFE = session_state.granted(session_state.begin(NOW), next(grants()), NOW, Timing(), 0.0)
READY = AppStatus("payments", LIFE, (OutputStatus("/run/payments.token", LIFE.token),))
BEHIND = AppStatus("ledger/eu", LIFE, (OutputStatus("/run/ledger.token", None, "disk full"),))
REFUSED = AppStatus(
    "audit",
    replace(
        session_state.begin(NOW),
        state=session_state.State.REJECTED,
        last_failure=Failure(Reason.REJECTED, "Invalid <credentials>", NOW, NOW),
    ),
)
BODY = b"refresherd_up 1\n"


class Metrics:
    """An exposition whose content type is the Accept header."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]] = lambda: (BODY,)) -> None:
        self._pieces = pieces

    def content_type(self, accept: str) -> str:
        """Return the Accept header."""
        return accept

    def render(self, content_type: str) -> Iterator[bytes]:
        """Yield the pieces, and then the content type."""
        yield from self._pieces()
        yield content_type.encode()


class Apps:
    """A roster with these apps."""

    def __init__(self, *statuses: AppStatus) -> None:
        self._statuses = statuses

    def become(self, *statuses: AppStatus) -> None:
        """Change every status."""
        self._statuses = statuses

    def statuses(self) -> tuple[AppStatus, ...]:
        """Return every status."""
        return self._statuses

    def reports(self) -> tuple[AppReport, ...]:
        """Return every app's report."""
        return tuple(AppReport(replace(APP, name=one.name), one) for one in self._statuses)

    def status(self, name: str) -> AppStatus | None:
        """Return one app's."""
        return next((status for status in self._statuses if status.name == name), None)


METRICS = Metrics()


@asynccontextmanager
async def served(
    *statuses: AppStatus,
    metrics: Metrics = METRICS,
    apps: Apps | None = None,
    fault: Callable[[], str] = str,
) -> AsyncIterator[ClientSession]:
    """Serve these apps, and yield a client of the listener."""
    clock, apps = FakeClock(NOW), apps or Apps(*statuses)
    pages = Pages(metrics, apps, Recent(clock), KeyedExecutor(), clock, fault=fault)
    listener = HttpListener([("127.0.0.1", 0)], pages, clock, Admission(RecordingObserver()))
    await listener.start()
    ((host, port),) = listener.addresses
    try:
        async with ClientSession(f"http://{host}:{port}") as client:
            yield client
    finally:
        await listener.stop()


async def answer(client: ClientSession, path: str, **headers: str) -> tuple[int, str]:
    """Return the status and the text of a GET."""
    async with client.get(path, headers=headers) as response:
        return response.status, await response.text()


def assert_safe(response: ClientResponse) -> None:
    """Assert that no cache keeps an answer, and no browser guesses its type.

    Nobody learns which version of which library to attack either.
    """
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] == "refresherd"


async def test_a_scrape_gets_the_metrics_in_the_format_it_asked_for() -> None:
    """The exposition decides by the whole Accept header, and the listener passes it on."""
    async with served() as client, client.get("/metrics", headers={"Accept": "a/b;v=1"}) as got:
        assert await got.read() == BODY + b"a/b;v=1"
        assert got.headers["Content-Type"] == "a/b;v=1"
        assert got.headers["Vary"] == "Accept, Accept-Encoding"
        assert_safe(got)


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("identity", None), ("gzip;q=0", None)],
)
async def test_a_scrape_is_compressed_if_the_client_accepts_it(
    encoding: str, compressed: str | None
) -> None:
    """At ten thousand apps that makes 1.7 MB instead of 41."""
    headers = {"Accept-Encoding": encoding, "Accept": "x"}
    async with served() as client, client.get("/metrics", headers=headers) as got:
        assert got.headers.get("Content-Encoding") == compressed
        assert await got.read() == BODY + b"x"


async def test_a_slow_scrape_is_shared_and_delays_nothing_else() -> None:
    """Ten impatient scrapers must cause neither ten renderings nor a failed liveness probe."""
    go_on, calls = threading.Event(), 0

    def pieces() -> Iterator[bytes]:
        nonlocal calls
        calls += 1
        assert go_on.wait(10)
        yield BODY

    async with served(READY, metrics=Metrics(pieces)) as client:
        scrapes = [asyncio.create_task(answer(client, "/metrics", Accept="")) for _ in range(5)]
        assert await answer(client, "/livez") == (200, "ok\n")
        assert (await answer(client, "/readyz"))[0] == 200
        go_on.set()
        assert await asyncio.gather(*scrapes) == [(200, BODY.decode())] * 5
        assert calls == 1
        assert await answer(client, "/metrics", Accept="") == (200, BODY.decode())
        assert calls == 2


async def test_readyz_is_200_when_every_app_is_ready() -> None:
    """Kubernetes sends traffic from then on."""
    async with served(READY) as client, client.get("/readyz") as got:
        assert (got.status, await got.json()) == (200, {"ready": True, "apps": {"payments": []}})
        assert_safe(got)


async def test_readyz_names_every_app_with_its_reasons() -> None:
    """An operator must not have to search the log for the app in trouble."""
    async with served(READY, BEHIND, REFUSED) as client, client.get("/readyz") as got:
        assert got.status == 503
        assert await got.json() == {
            "ready": False,
            "apps": {
                "payments": [],
                "ledger/eu": ["/run/ledger.token does not hold the newest token: disk full"],
                "audit": ["no valid token (rejected): Invalid <credentials>"],
            },
        }


async def test_readyz_tells_what_is_true_when_it_is_asked() -> None:
    """An answer from before a transition would hide it, however fast clients ask."""
    apps = Apps(READY)
    async with served(apps=apps) as client:
        for number in range(20):
            apps.become(BEHIND if number % 2 else READY)
            code, text = await answer(client, "/readyz")
            assert code == (503 if number % 2 else 200)
            assert json.loads(text)["ready"] == (code == 200)


async def test_readyz_of_no_app_is_ready() -> None:
    """An empty configuration is valid JSON as well."""
    async with served() as client, client.get("/readyz") as got:
        assert (got.status, await got.json()) == (200, {"ready": True, "apps": {}})


async def test_livez_gives_the_reason_why_the_daemon_does_not_work() -> None:
    """Kubernetes restarts the container, and its event has the cause."""
    faults = ["", "the event loop is 12.0 s late", ""]
    async with served(fault=lambda: faults.pop(0)) as client:
        assert await answer(client, "/livez") == (200, "ok\n")
        async with client.get("/livez") as got:
            assert (got.status, await got.text()) == (503, "the event loop is 12.0 s late\n")
            assert_safe(got)
        assert await answer(client, "/livez") == (200, "ok\n")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/readyz/payments", 200), ("/readyz/ledger%2Feu", 503), ("/readyz/ledger/eu", 503)],
)
async def test_the_readiness_of_one_app_is_independent_of_others(path: str, status: int) -> None:
    """A consumer waits for its own app alone."""
    async with served(READY, BEHIND) as client, client.get(path) as got:
        assert got.status == status
        assert (await got.json())["ready"] == (status == 200)


async def test_an_unknown_app_is_not_called_unready() -> None:
    """A probe with a misspelt name would wait for ever."""
    async with served(READY) as client, client.get("/readyz/paymnts") as got:
        assert got.status == 404
        assert await got.json() == {"error": "there is no app named 'paymnts'"}


async def test_the_front_page_links_to_the_others() -> None:
    """A person who opens the port in a browser finds the rest."""
    async with served() as client:
        async with client.get("/") as got:
            page = await got.text()
            assert (got.status, got.content_type) == (200, "text/html")
            assert_safe(got)
        for path in ("/metrics", "/readyz", "/livez"):
            assert f'href="{path}"' in page
            assert (await answer(client, path))[0] == 200


async def test_other_paths_and_methods_are_refused_in_plain_text() -> None:
    """The listener only answers questions."""
    async with served() as client:
        async with client.get("/v1/apps") as got:
            assert (got.status, got.content_type) == (404, "text/plain")
            assert_safe(got)
        async with client.post("/metrics", data=b"x" * 1000) as got:
            assert (got.status, got.content_type) == (405, "text/plain")
            assert got.headers["Allow"] == "GET, HEAD"
            assert_safe(got)


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/readyz/payments"])
async def test_head_is_answered_as_get_without_the_body(path: str) -> None:
    """Load balancers probe with HEAD."""
    async with served(READY) as client, client.head(path) as got:
        assert (got.status, await got.read()) == (200, b"")
        assert int(got.headers["Content-Length"]) > 0


class Slow(Apps):
    """A roster whose first reports wait for `go_on`."""

    begun, go_on = threading.Event(), threading.Event()

    def reports(self) -> tuple[AppReport, ...]:
        """Return every app's report."""
        if not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(10)
        return super().reports()


async def test_searches_hold_up_nobody_who_wants_the_whole_page() -> None:
    """One user may ask for any number of searches while another must see what is wrong."""
    apps = Slow(READY)
    async with served(apps=apps) as client:
        search = asyncio.create_task(answer(client, "/?q=pay"))
        assert await asyncio.to_thread(apps.begun.wait, 10)
        async with asyncio.timeout(5):
            assert (await answer(client, "/"))[0] == 200
        apps.go_on.set()
        assert (await search)[0] == 200


async def test_a_path_that_is_not_utf8_fails_no_page() -> None:
    """A directory may have any name, and the page tells why an output in it fails."""
    lagging = AppStatus("ledger", LIFE, (OutputStatus("/run/\udcff/token", None, "disk full"),))
    async with served(lagging) as client:
        code, text = await answer(client, "/")
        assert code == 200
        assert "disk full" in text


async def test_no_page_shows_a_token() -> None:
    """The port may be open to the whole network."""
    async with served(READY, BEHIND, REFUSED) as client:
        for path in ("/", "/readyz", "/readyz/payments", "/readyz/audit", "/nowhere"):
            async with client.get(path) as got:
                assert "token-1" not in await got.text() + str(got.headers)
