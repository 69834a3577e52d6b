"""Faults of what DSM, or what stands in its place, answers."""

import asyncio
import time
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
from faults.rig.replies import CUT_SHORT, HTML, PAGE, answering, bodies, fields, pages, rewritten
from faults.rig.scene import Scene
from support.dsm_loopback import reply

BUSY = THROTTLED | SERVER_ERROR
REFUSED = SESSION_LOST | REJECTED

CLIENT_ERRORS = (
    *(400, 402, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418),
    *(421, 422, 423, 424, 426, 428, 431, 451, 499),
)
SERVER_ERRORS = (500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 525, 530, 599)

OTHER_ENTITY = "00000000-0000-4000-8000-000000000000"

DAY = 86400

NEVER_ENDS = 4294967295
"""The most that `expires_in` can be."""


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


def _obeyed(value: str) -> During:
    """Return how DSM is busy for a while; an operator ends the wait once the token is lost."""

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


def _busy(name: str, breaks: str, value: str) -> Fault:
    return Fault(name, f"429 and 503 with a Retry-After {breaks}", _obeyed(value), BUSY)


def _odd(name: str, breaks: str, trouble: Trouble) -> Fault:
    return Fault(name, breaks, gated(trouble), BAD_RESPONSE)


STATUSES = (
    _odd("status-4xx", "errors of 4xx, with a page", pages(*CLIENT_ERRORS)),
    Fault("status-401", "401, whatever is sent", gated(pages(401)), REFUSED, withdraws=True),
    Fault("status-403", "403, whatever is sent", gated(pages(403)), REFUSED),
    Fault("status-408", "408 with a page", gated(pages(408)), TIMEOUT),
    Fault("status-5xx", "errors of 5xx, with a page", gated(pages(*SERVER_ERRORS)), SERVER_ERROR),
    Fault("status-busy", "425 and 429, with a page", gated(pages(425, 429)), THROTTLED),
    _busy("retry-after-0", "of 0", "0"),
    _busy("retry-after-1", "of a second", "1"),
    _busy("retry-after-day", "of a day", str(DAY)),
    _busy("retry-after-date", "of tomorrow", formatdate(time.time() + DAY, usegmt=True)),
    _busy("retry-after-past", "in the past", "Wed, 21 Oct 2015 07:28:00 GMT"),
    _busy("retry-after-garbage", "that means nothing", "soon; 1e99"),
    Fault("redirect", "redirects", _redirected, BAD_RESPONSE),
)

JSON = (
    _odd("page-200", "200 with a page", answering(reply(200, PAGE, HTML))),
    _odd("json-empty", "no body at all", answering(reply(200), reply(204), reply(200, b" \n"))),
    _odd("json-malformed", "what is no JSON", bodies(b"{", b'{"a": nan}', b"\xff\xfe{", b"OK")),
    _odd("json-cut", "half of the JSON", rewritten(lambda body: body[: len(body) // 2])),
    _odd("json-truncated", "half of the announced body", CUT_SHORT),
    _odd("json-huge", "2 MB", rewritten(lambda body: body[:-1] + b" " * 2_000_000 + b"}")),
    _odd("json-deep", "100,000 levels", bodies(b"[" * 100_000, b'{"a":' * 100_000)),
    _odd("json-wrong", "another type", bodies(b"[]", b"null", b"1", b'"x"', b"{}", b"true")),
)

GRANTS = (
    _odd("expires-in-0", "`expires_in` of 0", fields({"expires_in": 0})),
    _odd("expires-in-negative", "one below 0", fields({"expires_in": -1})),
    _odd("expires-in-float", "a fraction", fields({"expires_in": 9.5}, {"expires_in": 1e300})),
    _odd("expires-in-string", "a string", fields({"expires_in": "600"}, {"expires_in": None})),
    _odd("expires-in-huge", "one above 32 bits", fields({"expires_in": NEVER_ENDS + 1})),
    _odd("expires-in-missing", "none", fields({}, without="expires_in")),
    Fault("expires-in-most", "the largest that there can be", _endless),
    _odd("token-missing", "no token", fields({}, without="access_token")),
    _odd("token-null", "a null token", fields({"access_token": None}, {"access_token": ""})),
    _odd(
        "token-unusable",
        "a token that no header can hold",
        fields({"access_token": "a b"}, {"access_token": "a\r\nb: c"}, {"access_token": [1]}),
    ),
    _odd("token-cookie", "a token of type Cookie", fields({"token_type": "Cookie"})),
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
        tells="entity mismatch",
    ),
    _odd("entity-missing", "no `entity_id`", fields({}, without="entity_id")),
    Fault(
        "fields-unknown",
        "fields that nobody knows",
        gated(fields({"scope": "all", "nested": {"a": [1, None]}}, delivered=True)),
    ),
)

FAULTS = (*STATUSES, *JSON, *GRANTS)
