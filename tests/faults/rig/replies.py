"""Misbehaviours of the gate in HTTP."""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from faults.rig.gate import Exchange, Reply, Trouble, passed_on
from support.dsm_loopback import reply

PAGE = b"<!DOCTYPE html><html><head><title>Trouble</title></head><body><h1>No</h1></body></html>"
HTML = "Content-Type: text/html; charset=utf-8"
JSON = "Content-Type: application/json"

NO_JUDGEMENT = ("404", "408", "425", "429")
"""Errors of 4xx that are no refusal of a key."""


async def answered(exchange: Exchange) -> None:
    """Answer anything as a plain HTTP server does."""
    await exchange.reader.read(65536)
    await exchange.send(reply(400, PAGE, HTML))


def answering(*replies: bytes) -> Trouble:
    """Send these answers in turn instead of DSM's."""
    turns = itertools.cycle(replies)

    async def behave(exchange: Exchange) -> None:
        answer = next(turns)
        status = answer.split(b" ", 2)[1].decode()
        refusal = status.startswith("4") and status not in NO_JUDGEMENT
        if exchange.path.endswith("/auth") and refusal:
            exchange.gate.refusals.append(time.monotonic())
        await exchange.send(answer)

    return Trouble(on_request=behave)


def pages(*statuses: int, header: str = "X-Cache: MISS") -> Trouble:
    """Answer with these statuses in turn and an HTML page."""
    return answering(*(reply(status, PAGE, HTML, header) for status in statuses))


def bodies(*contents: bytes) -> Trouble:
    """Answer 200 with these bodies in turn, declared as JSON."""
    return answering(*(reply(200, content, JSON) for content in contents))


def rewritten(*changes: Callable[[bytes], bytes], delivered: bool = False) -> Trouble:
    """Pass logins and reauths on to DSM, and change the bodies of its answers in turn.

    `delivered`: the client still gets its new session.
    """
    return replaced(*(_json_of(change) for change in changes), delivered=delivered)


def _json_of(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda body: reply(200, change(body), JSON)


def replaced(*replies: Callable[[bytes], bytes], delivered: bool = False) -> Trouble:
    """Pass logins and reauths on to DSM, and make answers of its bodies, as in `rewritten`."""
    turns = itertools.cycle(replies)

    async def behave(exchange: Exchange) -> None:
        if not exchange.path.endswith("auth"):
            await passed_on(exchange)
            return
        answer = await exchange.forward()
        if not answer.head.startswith(b"HTTP/1.1 200"):
            await exchange.send(answer.whole)
            return
        if not delivered:
            exchange.mark_lost()
        await exchange.send(next(turns)(answer.body))

    return Trouble(on_request=behave)


def fields(*wanted: dict[str, Any], without: str = "", delivered: bool = False) -> Trouble:
    """Put these fields into DSM's answers in turn; leave `without` out."""

    def change(extra: dict[str, Any]) -> Callable[[bytes], bytes]:
        def changed(body: bytes) -> bytes:
            whole = json.loads(body) | extra
            return json.dumps({key: whole[key] for key in whole if key != without}).encode()

        return changed

    return rewritten(*(change(extra) for extra in wanted), delivered=delivered)


async def _cut_short(exchange: Exchange) -> None:
    answer = await exchange.forward()
    exchange.mark_lost()
    await exchange.send(Reply(answer.head, answer.body[: len(answer.body) // 2]).whole)
    exchange.writer.close()


CUT_SHORT = Trouble(on_request=_cut_short)
