"""A DSM that grants everything at almost no cost, so that a benchmark measures its client.

Usage: python tests/bench/canned_dsm.py [LIFETIME [TLS_DIRECTORY]]

Prints its address and answers until its standard input ends. Each grant's token is a new one.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Final

ENTITY_ID: Final = "7c6b1f0e-90a1-4a4c-9d1c-0a6f0c8e5d11"

TOKEN_LENGTH: Final = 86
"""As long as DSM's tokens."""

HEAD_END: Final = b"\r\n\r\n"

ENDED: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class CannedDsm(asyncio.Protocol):
    """One connection. Requests have no body, so each ends where its head does."""

    granted = 0

    def __init__(self, answer: tuple[bytes, bytes]) -> None:
        self._before_token, self._after_token = answer
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        *heads, self._received = (self._received + data).split(HEAD_END)
        for head in heads:
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        if b"/terminate" in head:
            return ENDED
        CannedDsm.granted += 1
        token = str(CannedDsm.granted).encode().rjust(TOKEN_LENGTH, b"t")
        return self._before_token + token + self._after_token


def auth_response(lifetime: int) -> tuple[bytes, bytes]:
    """Return the parts before and after the token in the answer to a login."""
    body = {
        "token_type": "Bearer",
        "expires_in": lifetime,
        "access_token": "TOKEN",
        "entity_id": ENTITY_ID,
        "allowed_mfa_methods": [],
    }
    before, after = json.dumps(body).encode().split(b"TOKEN")
    length = len(before) + TOKEN_LENGTH + len(after)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    return head.encode() + before, after


def server_context(directory: Path) -> ssl.SSLContext:
    """Return a TLS context; its CA is written to `ca.pem` in the directory."""
    # Only here, and not in the clients that are measured: cryptography is large.
    from refresherd.emulator.tls import Authority  # noqa: PLC0415

    return Authority(directory).server_context(())


async def serve(lifetime: int, context: ssl.SSLContext | None) -> None:
    """Serve until standard input ends, which it does when the parent ends."""
    loop = asyncio.get_running_loop()
    answer = auth_response(lifetime)
    server = await loop.create_server(
        lambda: CannedDsm(answer), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if context else 'http'}://127.0.0.1:{port}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve according to the arguments."""
    lifetime = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    context = server_context(Path(sys.argv[2])) if len(sys.argv) > 2 else None
    asyncio.run(serve(lifetime, context))


if __name__ == "__main__":
    main()
