"""A DSM that gives away what it was sent and what it has issued, wherever an answer has room."""

import itertools
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from urllib.parse import quote

from faults.rig.canaries import disguises, secret_half
from faults.rig.gate import Exchange, Trouble
from support.dsm_loopback import reply

AUTHORIZATION = re.compile(rb"authorization: *(basic|bearer) (\S+)", re.IGNORECASE)

JSON = "Content-Type: application/json"
TEXT = "Content-Type: text/plain"

FILLER = "x " * 2035
"""Puts what follows across the end of what is read of an answer's text."""


def _sent(exchange: Exchange) -> tuple[str, str]:
    found = AUTHORIZATION.search(exchange.head)
    assert found is not None
    return found[1].decode(), found[2].decode()


def _replies(scheme: str, secret: str) -> Iterator[bytes]:
    """Yield answers that hold a secret, one for each place that an answer has."""
    ways = disguises(secret)
    if scheme.lower() == "basic":
        ways |= {f"half-{name}": way for name, way in disguises(secret_half(secret)).items()}
        ways["whole"] = b64decode(secret).decode()
    said = [f"{scheme} {secret}", *ways.values(), *(f"<b>{way}</b>." for way in ways.values())]
    for text in said:
        body = text.encode()
        yield reply(500, body, TEXT)
        yield reply(503, json.dumps({"message": f"bad credential {text}"}).encode(), JSON)
        yield reply(200, body, TEXT)
        yield reply(200, json.dumps({"access_token": text, "expires_in": "x"}).encode(), JSON)
        yield reply(500, (FILLER + text).encode(), TEXT)
        yield reply(502, b"", f"X-Request-Id: {text}", f"WWW-Authenticate: {text}")
        yield reply(429, body, f"Retry-After: {text}", f"Date: {text}")
        yield reply(302, body, f"Location: https://x.test/{quote(text)}?token={quote(text)}")
        yield reply(307, body, f"Location: https://{secret}.x.test/")
        yield reply(200, b"<html>" + body, f"Content-Type: {text} text/html")
    yield b"HTTP/1.1 200 " + secret.encode() + b"\r\nBad Header " + secret.encode() + b"\r\n\r\n"
    yield secret.encode() + b"\r\n\r\n"


def echoing(first: int) -> Trouble:
    """Answer with what was sent, in each way that there is in turn, from the first one on."""
    turns = itertools.count(first)

    async def behave(exchange: Exchange) -> None:
        answers = list(_replies(*_sent(exchange)))
        await exchange.send(answers[next(turns) % len(answers)])
        exchange.writer.close()

    return Trouble(by_operator=behave)


def spoiling(first: int) -> Trouble:
    """Have DSM open a session, and give its token away in an answer that is of no use."""
    turns = itertools.count(-first)

    async def behave(exchange: Exchange) -> None:
        message = json.loads((await exchange.ask()).body)
        answers = list(_replies("Bearer", message["access_token"]))
        answers += [
            reply(200, json.dumps(message | {"token_type": "Cookie"}).encode(), JSON),
            reply(200, json.dumps(message | {"allowed_mfa_methods": ["u2f"]}).encode(), JSON),
            reply(200, json.dumps(message | {"entity_id": message["access_token"]}).encode(), JSON),
            reply(
                200, json.dumps(message | {"expires_in": message["access_token"]}).encode(), JSON
            ),
            reply(200, json.dumps(message).encode()[:-1], JSON),
            reply(200, json.dumps(message | {"access_token": f"x {message}"}).encode(), JSON),
        ]
        await exchange.send(answers[next(turns) % len(answers)])
        exchange.writer.close()

    return Trouble(by_operator=behave)
