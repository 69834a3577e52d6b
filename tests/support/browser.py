"""Pages in a headless Chromium, and what axe-core says of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.lab import needs

ROOT = Path(__file__).parents[2]

AXE = ROOT / ".venv/npm/node_modules/axe-core/axe.min.js"
"""Where `.ci/run` installs it."""

SCREENSHOTS = ROOT / "build/screenshots"

PATIENCE = 20_000
"""Milliseconds within which a page shows what a test waits for, even on a busy host."""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SIZES = {"wide": (1440, 900), "tablet": (820, 1100), "phone": (360, 740)}

PICTURE = {"picture": (1180, 1010)}
"""The size of the picture in the documentation."""


@contextmanager
def chromium() -> Iterator[Any]:
    """Run Debian's Chromium; skip the test where it, or Playwright, is missing."""
    path = shutil.which("chromium")
    needs(path, "Chromium (Debian's package chromium)")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  # it may be missing
    except ImportError:
        needs(available=False, what="Playwright (pip install playwright)")
        raise
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Any,  # noqa: ANN401  # Playwright may be missing
    url: str,
    *,
    size: str = "wide",
    scheme: str = "light",
    scripts: bool = True,
) -> Iterator[Any]:
    """Open a page, and fail if it loads anything from elsewhere or breaks its own policy."""
    width, height = (SIZES | PICTURE)[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on(
        "console", lambda message: complaints.append(message.text) if is_fault(message) else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: complaints.append(request.url) if _foreign(request.url, url) else None,
    )
    try:
        page.goto(url)
        yield page
        assert complaints == []
    finally:
        context.close()


def is_fault(message: Any) -> bool:  # noqa: ANN401  # as above
    """Return whether a line of the console is about a fault of the page.

    That the daemon did not answer is no fault of its page, although Chromium says so there.
    """
    return message.type in {"error", "warning"} and "net::ERR_" not in message.text


def violations(page: Any) -> list[str]:  # noqa: ANN401  # as above
    """Return what keeps people from using a page, according to axe-core."""
    if not AXE.exists():
        needs(available=False, what="axe-core (npm install --prefix .venv/npm axe-core)")
    found = page.evaluate(f"async () => {{ {AXE.read_text()}; return await axe.run(); }}")
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def screenshot(page: Any, name: str) -> None:  # noqa: ANN401  # as above
    """Keep a picture of the whole page for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def _foreign(url: str, own: str) -> bool:
    return not url.startswith(own.rstrip("/"))
