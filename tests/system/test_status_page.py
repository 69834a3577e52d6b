"""The status page in a real browser, of a real daemon in trouble."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import SIZES, chromium, opened, screenshot, violations
from support.programs import Workplace, command, emulator, running
from support.watched_daemon import (
    FILES,
    HEALTHY,
    TROUBLED,
    Watched,
    daemon_in_trouble,
    free_port,
    states,
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Run one browser for all tests."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run a daemon with three healthy apps and four in trouble."""
    with daemon_in_trouble(tmp_path_factory.mktemp("page")) as found:
        yield found


def nothing() -> None:
    """Leave the daemon alone."""


def names(page: Any) -> list[str]:  # noqa: ANN401  # Playwright may be missing
    """Return the names of the apps on a page, in order."""
    shown: list[str] = page.locator(".app h3").all_inner_texts()
    return shown


def test_without_scripts_the_page_tells_which_app_is_in_trouble_and_why(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """An operator at night may have no more than a terminal's browser."""
    with opened(browser, watched.url, scripts=False) as page:
        assert page.locator("h1").inner_text() == "4 of 7 apps are in trouble"
        assert (
            page.locator("#consequence").inner_text() == "Consumers of 3 apps have no valid token."
        )
        assert set(names(page)[:4]) == set(TROUBLED)
        assert names(page)[0] == "orders"
        orders = page.locator("#app-orders").inner_text()
        assert "Consumers have no token yet." in orders
        assert "was refused by" in orders
        assert "What to do replace the credential" in orders
        assert re.search(r"The attempt at \d\d:\d\d:\d\d UTC \(.*\) failed\.", orders)
        audit = page.locator("#app-audit").inner_text()
        assert re.search(r"Consumers of .*/missing/audit.token have no valid token\.", audit)
        assert "cannot write it: No such file or directory; create its directory" in audit
        hooks = page.locator("#app-reports").inner_text()
        assert "Consumers have a valid token for another" in hooks
        assert "hooks[0] /bin/false: exit status 1" in hooks
        assert page.locator('meta[http-equiv="refresh"]').count() == 1
        screenshot(page, "trouble-without-scripts")


def test_the_page_updates_itself_without_losing_its_place(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """Somebody reads details, or copies an error, while tokens are renewed below."""
    with opened(browser, watched.url) as page:
        page.locator("#details-ledger summary").focus()
        page.keyboard.press("Enter")
        page.evaluate("document.getElementById('app-ledger').dataset.ours = 'kept'")
        before = page.locator("#app-ledger .numbers").inner_text()
        page.wait_for_function(
            "before => document.querySelector('#app-ledger .numbers').innerText !== before",
            arg=before,
        )
        assert page.locator("#details-ledger").get_attribute("open") is not None
        assert page.evaluate("document.activeElement.parentElement.id") == "details-ledger"
        # The script does not know this attribute, so it is gone; the element itself has stayed.
        assert page.locator("#details-ledger .facts").is_visible()


def test_the_page_goes_on_after_the_daemon_restarts(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """A page on the wall must not need a person after each deployment."""
    with opened(browser, watched.url) as page:
        line = page.locator("#connection")
        assert line.is_hidden()
        watched.stop()
        line.filter(has_text="The daemon does not answer").wait_for()
        assert "as of" in line.inner_text()
        assert len(names(page)) == 7
        screenshot(page, "daemon-stopped")
        watched.start()
        line.wait_for(state="hidden")
        watched.await_facts(lambda facts: facts["troubled"] == len(TROUBLED))


def test_apps_are_found_by_typing(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """With a thousand apps nobody scrolls."""
    with opened(browser, watched.url) as page:
        page.get_by_role("searchbox").press_sequentially("ledg")
        page.wait_for_function("() => document.querySelectorAll('.app').length === 1")
        assert names(page) == ["ledger"]
        assert page.get_by_role("searchbox").input_value() == "ledg"
        assert page.url.endswith("?q=ledg&sort=urgency")
        page.get_by_role("searchbox").fill("no such app")
        page.get_by_text("No app matches.").wait_for()
        page.get_by_role("link", name="Show all apps").click()
        page.wait_for_function("() => document.querySelectorAll('.app').length === 7")
        page.get_by_role("link", name="rejected").click()
        page.wait_for_function("() => document.querySelectorAll('.app').length === 1")
        page.get_by_label("Sort by").select_option("name")
        page.wait_for_url("**sort=name**")
        assert names(page) == ["orders"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_read_the_page_at_every_size(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
    size: str,
    scheme: str,
) -> None:
    """On a phone, in the dark, and with a screen reader."""
    with opened(browser, watched.url, size=size, scheme=scheme) as page:
        page.locator("#details-orders summary").click()
        screenshot(page, f"trouble-{size}-{scheme}")
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= SIZES[size][0]
        # A policy that allows no inline script holds for axe as well, so it comes by the debugger.
        assert violations(page) == []


def test_the_keyboard_reaches_everything(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """Some people use no mouse; the first stop skips what they have heard before."""
    with opened(browser, watched.url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the apps"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "apps"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.keyboard.press("Enter")
        assert page.locator(".app").first.locator(".facts").is_visible()


def test_page_and_json_tell_the_same(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    watched: Watched,
) -> None:
    """A script that watches the facts must not know another truth than people."""
    facts = watched.facts()
    assert facts["troubled"] == 4
    assert facts["ready"] is False
    assert {name: states(facts)[name] for name in TROUBLED} == TROUBLED
    with opened(browser, watched.url, scripts=False) as page:
        shown = {
            app.locator("h3").inner_text(): app.locator(".badge").inner_text()
            for app in page.locator(".app").all()
        }
        assert shown == states(facts)
        for app in facts["apps"]:
            if app["last_error"]:
                assert app["last_error"] in page.locator(f"#app-{app['name']}").inner_text()
    endpoints = {one["url"]: one for one in facts["endpoints"]}
    assert endpoints[watched.dsm.url]["median_seconds"] > 0
    assert endpoints[watched.dsm.url]["last_failure"]["app"] == "orders"


def test_a_healthy_daemon_says_so_at_once(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    tmp_path: Path,
) -> None:
    """Most days there is nothing to do, and that should take a second to see."""
    port = free_port()
    with emulator("--apps", "6", "--lifetime", "120") as dsm:
        apps = Workplace(tmp_path, dsm)
        for number, name in enumerate((*HEALTHY, "mail", "payments", "search")):
            body = FILES.format(name) + f'[[apps.{name}.hooks]]\ncommand = ["/bin/true"]\n'
            apps.app(name, body, key=number)
        path = apps.write(f'[http]\nlisten = ["127.0.0.1:{port}"]\n')
        with running("run", "--config", str(path)):
            healthy = Watched(tmp_path, f"http://127.0.0.1:{port}/", dsm, nothing, nothing)
            healthy.await_facts(lambda facts: facts["ready"] and facts["states"]["fresh"] == 6)
            api = str(tmp_path / "api.sock")
            assert command("token", "mail", "--socket", api).returncode == 0
            for size in SIZES:
                with opened(browser, healthy.url, size=size) as page:
                    assert page.locator("h1").inner_text() == "All 6 apps are well"
                    assert "6" in page.get_by_role("link", name="fresh").inner_text()
                    page.locator("#details-mail summary").click()
                    assert "consumer root" in page.locator("#details-mail").inner_text()
                    screenshot(page, f"healthy-{size}")
                    assert violations(page) == []


def test_one_in_a_thousand_is_found_at_once(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    tmp_path: Path,
) -> None:
    """The one app in trouble comes first, and the others are a few letters or a page away."""
    with emulator("--lifetime", "600") as dsm:
        apps = Workplace(tmp_path, dsm)
        for number in range(999):
            apps.app(f"app-{number:03}")
        apps.app("zebra")
        (tmp_path / "zebra.key").write_text(dsm.api_keys[0][:-8] + "AAAAAAA=")
        port = free_port()
        path = apps.write(f'[http]\nlisten = ["127.0.0.1:{port}"]\n')
        with running("run", "--config", str(path)):
            crowd = Watched(tmp_path, f"http://127.0.0.1:{port}/", dsm, nothing, nothing)
            crowd.await_facts(lambda facts: facts["states"]["fresh"] == 999)
            with opened(browser, crowd.url) as page:
                assert page.locator("h1").inner_text() == "1 of 1000 apps is in trouble"
                assert names(page)[:2] == ["zebra", "app-000"]
                assert page.locator("#apps-heading").inner_text() == "Apps 1 to 100 of 1000"
                page.get_by_role("link", name="Next").click()
                page.wait_for_function("() => !document.getElementById('app-zebra')")
                assert names(page)[0] == "app-099"
                page.get_by_role("searchbox").press_sequentially("p-50")
                page.wait_for_function("() => document.querySelectorAll('.app').length === 10")
                assert names(page) == [f"app-50{digit}" for digit in range(10)]
                page.get_by_label("Sort by").select_option("name")
                page.wait_for_url("**sort=name**")
