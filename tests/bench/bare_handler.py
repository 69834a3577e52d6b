"""An aiohttp.web application that does no more than answer one route, always with the same bytes.

Usage: python tests/bench/bare_handler.py SOCKET BODY

Serves /v1/apps/APP/token on the Unix socket at SOCKET, with what is in the file BODY, until
it is ended by a signal.
"""

import sys
from pathlib import Path

from aiohttp import web

HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "Server": "refresherd"}
"""The headers of refresherd's answers; Content-Length and Date are added to both."""


def application(body: bytes) -> web.Application:
    """Return the application."""

    async def token(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=HEADERS)

    made = web.Application()
    made.router.add_get("/v1/apps/{app}/token", token)
    return made


def main() -> None:
    """Serve according to the arguments."""
    socket, body = sys.argv[1:]
    web.run_app(application(Path(body).read_bytes()), path=socket, access_log=None, print=None)


if __name__ == "__main__":
    main()
