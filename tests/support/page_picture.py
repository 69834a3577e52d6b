"""Takes the picture of the status page for the documentation.

    python tests/support/page_picture.py docs/status-page.png DIRECTORY

It runs a real daemon with apps in trouble, whose files are in the directory: the picture shows its
path, so choose a short one. It needs Chromium and Playwright, as the tests of the page do.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import chromium, opened
from support.watched_daemon import daemon_in_trouble

LIFETIME = 600

ASKED_AFTER = 100
"""Seconds after which the picture is taken: part of each token's life must be over."""


def main() -> None:
    """Take the picture."""
    picture, directory = map(Path, sys.argv[1:])
    directory.mkdir()
    with daemon_in_trouble(directory, LIFETIME) as watched:
        time.sleep(ASKED_AFTER)
        with chromium() as browser, opened(browser, watched.url, size="picture") as page:
            page.screenshot(path=picture)


if __name__ == "__main__":
    main()
