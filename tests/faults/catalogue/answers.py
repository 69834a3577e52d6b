"""Faults of the answers from DSM, or from whatever answers in its place."""

import asyncio
import gzip
import re
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

from faults.rig.daemon import operate
from faults.rig.fault import LONG, During, Fault, Setting, gated
from faults.rig.gate import Trouble
from faults.rig.reasons import (
    BAD_RESPONSE,
    MFA_REQUIRED,
    REJECTED,
    SERVER_ERROR,
    SESSION_LOST,
    THROTTLED,
    TIMEOUT,
)
from faults.rig.replies import (
    CUT_SHORT,
    HTML,
    PAGE,
    answering,
    bodies,
    fields,
    pages,
    replaced,
    rewritten,
)
from faults.rig.scene import Scene
from support.dsm_loopback import reply

BUSY = THROTTLED | SERVER_ERROR
REFUSED = SESSION_LOST | REJECTED

CLIENT_ERRORS = (
    *(400, 402, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418),
    *(421, 422, 423, 424, 426, 428, 431, 451, 499),
)
SERVER_ERRORS = (500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 525, 530, 599)

OTHER_ENTITY = "00000000-0000-4000-8000-000000000000"

DAY = 86400

NEVER_ENDS = 4294967295
"""The largest `expires_in`."""


@asynccontextmanager
async def _redirected(scene: Scene) -> AsyncIterator[None]:
    followed: list[asyncio.StreamWriter] = []

    def follow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        followed.append(writer)
        writer.close()

    async with await asyncio.start_server(follow, "127.0.0.1", 0) as trap:
        to = f"Location: http://127.0.0.1:{trap.sockets[0].getsockname()[1]}/sys/v1/session/auth"
        turns = (reply(status, PAGE, HTML, to) for status in (301, 302, 303, 307, 308))
        with scene.gate.troubled(answering(*turns)):
            yield
    if followed:
        scene.remarks.append("a redirect was followed")


def _throttled(value: str) -> During:
    """Return a fault in which DSM is busy; an operator ends the wait once the token has expired."""

    @asynccontextmanager
    async def during(scene: Scene) -> AsyncIterator[None]:
        with scene.gate.troubled(pages(429, 503, header=f"Retry-After: {value}")):
            yield
        if scene.figures.state == "expired":
            await operate(scene.api, scene.name)

    return during


@asynccontextmanager
async def _endless(scene: Scene) -> AsyncIterator[None]:
    lifetime, scene.app.lifetime = scene.app.lifetime, NEVER_ENDS
    await operate(scene.api, scene.name)
    yield
    scene.app.lifetime = lifetime
    await operate(scene.api, scene.name)


def _retry_after(name: str, breaks: str, value: str) -> Fault:
    return Fault(name, f"429 and 503 with a Retry-After {breaks}", _throttled(value), BUSY)


def _bad_response(name: str, breaks: str, trouble: Trouble) -> Fault:
    return Fault(name, breaks, gated(trouble), BAD_RESPONSE)


STATUSES = (
    Fault(
        "status-4xx",
        "errors of 4xx, with a page",
        gated(pages(*CLIENT_ERRORS)),
        BAD_RESPONSE | REJECTED,
    ),
    _bad_response("status-404", "404, whatever is sent", pages(404)),
    Fault(
        "status-423",
        "423 for every login, and `renew` is auth",
        gated(pages(423)),
        REJECTED,
        Setting(app='renew = "auth"\nretry_min = "100ms"'),
    ),
    Fault("status-401", "401, whatever is sent", gated(pages(401)), REFUSED, may_lack_token=True),
    Fault("status-403", "403, whatever is sent", gated(pages(403)), REFUSED),
    Fault("status-408", "408 with a page", gated(pages(408)), TIMEOUT),
    Fault("status-5xx", "errors of 5xx, with a page", gated(pages(*SERVER_ERRORS)), SERVER_ERROR),
    Fault("status-busy", "425 and 429, with a page", gated(pages(425, 429)), THROTTLED),
    _retry_after("retry-after-0", "of 0", "0"),
    _retry_after("retry-after-1", "of a second", "1"),
    _retry_after("retry-after-day", "of a day", str(DAY)),
    _retry_after(
        "retry-after-date", "with tomorrow's date", formatdate(time.time() + DAY, usegmt=True)
    ),
    _retry_after("retry-after-past", "in the past", "Wed, 21 Oct 2015 07:28:00 GMT"),
    _retry_after("retry-after-garbage", "that is not valid", "soon; 1e99"),
    Fault("redirect", "redirects", _redirected, BAD_RESPONSE),
)

JSON = (
    _bad_response("page-200", "200 with a page", answering(reply(200, PAGE, HTML))),
    _bad_response(
        "json-empty", "no body at all", answering(reply(200), reply(204), reply(200, b" \n"))
    ),
    _bad_response(
        "json-malformed", "malformed JSON", bodies(b"{", b'{"a": nan}', b"\xff\xfe{", b"OK")
    ),
    _bad_response("json-cut", "half of the JSON", rewritten(lambda body: body[: len(body) // 2])),
    _bad_response("json-truncated", "half of the announced body", CUT_SHORT),
    _bad_response("json-huge", "2 MB", rewritten(lambda body: body[:-1] + b" " * 2_000_000 + b"}")),
    _bad_response("json-deep", "100,000 levels", bodies(b"[" * 100_000, b'{"a":' * 100_000)),
    _bad_response(
        "json-wrong", "another type", bodies(b"[]", b"null", b"1", b'"x"', b"{}", b"true")
    ),
)

GRANTS = (
    _bad_response("expires-in-0", "`expires_in` of 0", fields({"expires_in": 0})),
    _bad_response("expires-in-negative", "a negative one", fields({"expires_in": -1})),
    _bad_response(
        "expires-in-float", "a fraction", fields({"expires_in": 9.5}, {"expires_in": 1e300})
    ),
    _bad_response(
        "expires-in-string", "a string", fields({"expires_in": "600"}, {"expires_in": None})
    ),
    _bad_response("expires-in-huge", "one above 32 bits", fields({"expires_in": NEVER_ENDS + 1})),
    _bad_response("expires-in-missing", "no `expires_in`", fields({}, without="expires_in")),
    Fault("expires-in-most", "the largest `expires_in`", _endless),
    _bad_response("token-missing", "no token", fields({}, without="access_token")),
    _bad_response(
        "token-null", "a null token", fields({"access_token": None}, {"access_token": ""})
    ),
    _bad_response(
        "token-unusable",
        "a token that no header can carry",
        fields({"access_token": "a b"}, {"access_token": "a\r\nb: c"}, {"access_token": [1]}),
    ),
    _bad_response("token-cookie", "a token of type Cookie", fields({"token_type": "Cookie"})),
    Fault(
        "mfa",
        "a second factor is wanted",
        gated(
            fields(
                {"allowed_mfa_methods": ["totp"]},
                {"challenge": {"u2f_challenge": "x", "u2f_keys": []}},
                {"fido2_assertion_options": {}},
            )
        ),
        MFA_REQUIRED,
    ),
    Fault(
        "entity-other",
        "another app's `entity_id`",
        gated(fields({"entity_id": OTHER_ENTITY}, delivered=True)),
        setting=Setting(app='renew = "auth"'),
        lengths=(LONG,),
        logs="entity mismatch",
    ),
    _bad_response("entity-missing", "no `entity_id`", fields({}, without="entity_id")),
    Fault(
        "fields-unknown",
        "unknown fields",
        gated(fields({"scope": "all", "nested": {"a": [1, None]}}, delivered=True)),
    ),
)

UNUSUAL = (
    lambda body: reply(200, body.replace(b'"Bearer"', b'"bearer"')),
    lambda body: reply(200, re.sub(rb'("expires_in": *[0-9]+)', rb"\1.0", body)),
    lambda body: reply(200, b"\xef\xbb\xbf" + body[:-1] + b', "half": "\\ud800"}'),
    lambda body: reply(200, gzip.compress(body), "Content-Encoding: x-gzip"),
    lambda body: reply(200, gzip.compress(zlib.compress(body)), "Content-Encoding: deflate, gzip"),
    lambda body: reply(200, body, "Content-Encoding: identity", "X-Policy: " + "x" * 9000),
    lambda body: reply(200, body, *(f"X-{number}: y" for number in range(200))),
)
"""Valid answers as other libraries and gateways write them."""

FORMS = (
    Fault(
        "answer-unusual",
        "valid answers in unusual forms",
        gated(replaced(*UNUSUAL, delivered=True)),
    ),
    _bad_response(
        "coding-unknown",
        "a content coding that nobody asked for",
        replaced(lambda body: reply(200, body, "Content-Encoding: br")),
    ),
    _bad_response(
        "head-large",
        "a head of 40,000 bytes in a line",
        replaced(lambda body: reply(200, body, "X-Policy: " + "x" * 40_000)),
    ),
)

FAULTS = (*STATUSES, *JSON, *GRANTS, *FORMS)
