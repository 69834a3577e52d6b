"""A DSM that repeats credentials and tokens in every part of its answers."""

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
"""Moves what follows to the limit up to which an answer's text is read."""


def _sent(exchange: Exchange) -> tuple[str, str]:
    """Return how a request was authenticated, and by which secret."""
    found = AUTHORIZATION.search(exchange.head)
    if found is None:
        return "Password", str(json.loads(exchange.body)["password"])
    return found[1].decode(), found[2].decode()


def _replies(scheme: str, secret: str) -> Iterator[bytes]:
    """Yield answers that contain a secret, one for each part of an answer and each encoding."""
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
    """Repeat the request's credential in each way in turn, beginning with number `first`."""
    turns = itertools.count(first)

    async def behave(exchange: Exchange) -> None:
        answers = list(_replies(*_sent(exchange)))
        await exchange.send(answers[next(turns) % len(answers)])
        exchange.writer.close()

    return Trouble(on_request=behave)


def issuing_then_leaking(first: int) -> Trouble:
    """Let DSM open a session, and put its token into an answer that is no valid grant."""
    turns = itertools.count(-first)

    async def behave(exchange: Exchange) -> None:
        grant = json.loads((await exchange.forward()).body)
        answers = list(_replies("Bearer", grant["access_token"]))
        answers += [
            reply(200, json.dumps(grant | {"token_type": "Cookie"}).encode(), JSON),
            reply(200, json.dumps(grant | {"allowed_mfa_methods": ["u2f"]}).encode(), JSON),
            reply(200, json.dumps(grant | {"entity_id": grant["access_token"]}).encode(), JSON),
            reply(200, json.dumps(grant | {"expires_in": grant["access_token"]}).encode(), JSON),
            reply(200, json.dumps(grant).encode()[:-1], JSON),
            reply(200, json.dumps(grant | {"access_token": f"x {grant}"}).encode(), JSON),
        ]
        await exchange.send(answers[next(turns) % len(answers)])
        exchange.writer.close()

    return Trouble(on_request=behave)
