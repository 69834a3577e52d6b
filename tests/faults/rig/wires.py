"""Misbehaviours of the gate below HTTP."""

import asyncio

from faults.rig.gate import Exchange, Trouble, passed_on
from faults.rig.timing import TIMEOUT
from support.dsm_loopback import GRANT, reply

STRAY = reply(200, GRANT, "Content-Type: application/json")
"""An answer that belongs to another request."""

GARBAGE = b"\x15\x03\x01\x00\x02\x02\x46 this is not HTTP\r\n\r\n"


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _stall(exchange: Exchange) -> None:
    await exchange.stall()


async def _hang_up(exchange: Exchange) -> None:
    exchange.writer.close()


async def _send_garbage(exchange: Exchange) -> None:
    await exchange.send(GARBAGE)
    exchange.writer.close()


async def _half_a_head(exchange: Exchange) -> None:
    answer = await exchange.forward()
    exchange.mark_lost()
    await exchange.send(answer.head[: len(answer.head) // 2])


async def _half_a_body(exchange: Exchange) -> None:
    answer = await exchange.forward()
    exchange.mark_lost()
    await exchange.send(answer.head + answer.body[: len(answer.body) // 2])


async def _reset_in_head(exchange: Exchange) -> None:
    await _half_a_head(exchange)
    exchange.reset()


async def _reset_in_body(exchange: Exchange) -> None:
    await _half_a_body(exchange)
    exchange.reset()


async def _stall_in_head(exchange: Exchange) -> None:
    await _half_a_head(exchange)
    await exchange.stall()


async def _stall_in_body(exchange: Exchange) -> None:
    await _half_a_body(exchange)
    await exchange.stall()


async def _send_slowly(exchange: Exchange) -> None:
    answer = await exchange.forward()
    exchange.mark_lost()
    for number in range(len(answer.whole)):
        await exchange.send(answer.whole[number : number + 1])
        await asyncio.sleep(1)


async def _endless_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while not exchange.writer.is_closing():
        await exchange.send(b"X-More: and more\r\n" * 1000)


async def _twice(exchange: Exchange) -> None:
    answer = await exchange.forward()
    await exchange.send(answer.whole + STRAY)


async def _slow(exchange: Exchange) -> None:
    await asyncio.sleep(TIMEOUT / 2)
    await passed_on(exchange)


async def _again_later(exchange: Exchange) -> None:
    await passed_on(exchange)
    if await exchange.idle_for(0.2):
        await exchange.send(STRAY)


RESET_AT_ACCEPT = Trouble(on_accept=_reset)
RESET_AFTER_REQUEST = Trouble(on_request=_reset)
RESET_IN_HEAD = Trouble(on_request=_reset_in_head)
RESET_IN_BODY = Trouble(on_request=_reset_in_body)
HANG_AT_ACCEPT = Trouble(on_accept=_stall)
HANG_AFTER_REQUEST = Trouble(on_request=_stall)
HANG_IN_HEAD = Trouble(on_request=_stall_in_head)
HANG_IN_BODY = Trouble(on_request=_stall_in_body)
CLOSED_AFTER_REQUEST = Trouble(on_request=_hang_up)
NOT_HTTP = Trouble(on_request=_send_garbage)
ENDLESS_HEAD = Trouble(on_request=_endless_head)
TWICE = Trouble(on_request=_twice)
SLOW = Trouble(on_request=_slow)
AGAIN_LATER = Trouble(on_request=_again_later)
ONE_BYTE_A_SECOND = Trouble(on_request=_send_slowly)
