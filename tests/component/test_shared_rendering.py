"""Large answers in real threads: made once, shared for a while, sent in small parts."""

import asyncio
import gc
import gzip
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.shared_rendering import (
    MAX_REST_SECONDS,
    MAX_SHARED_SECONDS,
    SHARED_TIMES,
    CompressedText,
    CurrentRendering,
    SharedRendering,
    SharedRenderings,
)
from support.fakes import FakeClock


class Numbers:
    """Renders 1, 2 and so on; each takes `took` seconds, and happens once `go_on` is set."""

    def __init__(self, took: float = 0.0) -> None:
        self.clock = FakeClock()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.begun = threading.Event()
        self.made = 0
        self._took = took
        self.executor = KeyedExecutor()
        self.shared = SharedRendering("numbers", self.make, self.executor, self.clock)

    def make(self) -> int:
        """Return the next number, once that is allowed."""
        self.begun.set()
        assert self.go_on.wait(10)
        self.clock.advance(self._took)
        self.made += 1
        if self.fault is not None:
            raise self.fault
        return self.made


async def test_all_who_ask_meanwhile_get_the_same() -> None:
    """Three hundred slow scrapes must not cause three hundred renderings."""
    numbers = Numbers()
    numbers.go_on.clear()
    clients = [asyncio.create_task(numbers.shared.get()) for _ in range(300)]
    await asyncio.sleep(0)
    numbers.go_on.set()
    assert await asyncio.gather(*clients) == [1] * 300


async def test_no_garbage_is_collected_meanwhile() -> None:
    """Ten thousand reports would start it, and it would hold up the event loop for 0.2 s."""
    first, second = Numbers(), Numbers()
    second.fault = ValueError("too many")
    for numbers in (first, second):
        numbers.go_on.clear()
    renderings = [asyncio.create_task(numbers.shared.get()) for numbers in (first, second)]
    for numbers in (first, second):
        assert await asyncio.to_thread(numbers.begun.wait, 10)
    first.go_on.set()
    assert await renderings[0] == 1
    assert not gc.isenabled()  # the other one goes on
    second.go_on.set()
    with pytest.raises(ValueError, match="too many"):
        await renderings[1]
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("took", "shared"), [(0.001, 0.001 * SHARED_TIMES), (2.0, MAX_SHARED_SECONDS)]
)
async def test_a_rendering_is_shared_for_a_multiple_of_what_it_took(
    took: float, shared: float
) -> None:
    """So a flood costs a tenth of a processor at most, and few apps are never seen late."""
    numbers = Numbers(took)
    assert await numbers.shared.get() == 1
    numbers.clock.advance(shared * 0.99)
    assert await numbers.shared.get() == 1
    numbers.clock.advance(shared * 0.02)
    assert await numbers.shared.get() == 2


async def test_a_client_that_leaves_takes_the_rendering_from_nobody() -> None:
    """An attacker could else cancel what Prometheus waits for."""
    numbers = Numbers()
    numbers.go_on.clear()
    leaving, staying = [asyncio.create_task(numbers.shared.get()) for _ in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    numbers.go_on.set()
    assert await staying == 1
    assert leaving.cancelled()


async def test_a_failure_is_told_to_all_who_wait_and_not_shared_any_longer() -> None:
    """The next client may have more luck."""
    numbers = Numbers(took=1.0)
    numbers.fault = ValueError("no luck")
    failed = await asyncio.gather(
        numbers.shared.get(), numbers.shared.get(), return_exceptions=True
    )
    assert [str(error) for error in failed] == ["no luck"] * 2
    numbers.fault = None
    assert await numbers.shared.get() == 2


async def test_a_failure_that_nobody_waits_for_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Asyncio would put a traceback into the log."""
    numbers = Numbers()
    numbers.fault = ValueError("no luck")
    numbers.go_on.clear()
    client = asyncio.create_task(numbers.shared.get())
    await asyncio.sleep(0)
    client.cancel()
    numbers.go_on.set()
    await numbers.executor.drained()
    for _ in range(3):
        await asyncio.sleep(0)
    del numbers
    gc.collect()
    assert caplog.text == ""


async def test_closing_ends_the_wait_of_all() -> None:
    """A thread cannot be stopped, only abandoned."""
    numbers = Numbers()
    numbers.shared.close()
    numbers.go_on.clear()
    client = asyncio.create_task(numbers.shared.get())
    await asyncio.sleep(0)
    numbers.shared.close()
    with pytest.raises(asyncio.CancelledError):
        await client
    numbers.go_on.set()


class Current(Numbers):
    """Renders numbers, each after its clients asked for it."""

    def __init__(self, took: float = 0.0) -> None:
        super().__init__(took)
        self.current = CurrentRendering(
            "numbers", self.make, self.executor, self.clock, rest_times=4.0
        )


async def test_nobody_gets_a_rendering_that_began_before_they_asked() -> None:
    """It may tell what is not true any more. All who wait share the next one."""
    numbers = Current()
    numbers.go_on.clear()
    early = asyncio.create_task(numbers.current.get())
    await asyncio.to_thread(numbers.begun.wait, 10)
    late = []
    for _ in range(300):
        late.append(asyncio.create_task(numbers.current.get()))
        await asyncio.sleep(0)
    numbers.go_on.set()
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 300
    assert await numbers.current.get() == 3


async def test_after_a_rendering_clients_wait_for_a_multiple_of_what_it_took() -> None:
    """So a flood takes a fifth of a processor at most."""
    numbers = Current(took=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await numbers.current.get() == 1
    assert await numbers.current.get() == 2
    assert loop.time() - began >= 4 * 0.05


async def test_a_rendering_that_a_suspend_interrupted_holds_up_nobody() -> None:
    """It seems to have taken hours, and no client may wait for a multiple of that."""
    numbers = Current(took=8 * 3600.0)
    assert await numbers.current.get() == 1
    async with asyncio.timeout(MAX_REST_SECONDS + 5):
        assert await numbers.current.get() == 2


async def test_a_failed_rendering_is_followed_by_another() -> None:
    """The next client may have more luck."""
    numbers = Current()
    numbers.fault = ValueError("no luck")
    with pytest.raises(ValueError, match="no luck"):
        await numbers.current.get()
    numbers.fault = None
    assert await numbers.current.get() == 2


async def test_closing_ends_every_wait_for_a_rendering() -> None:
    """A stop must not wait for a rendering in progress, nor for the one after it."""
    numbers = Current()
    numbers.current.close()
    numbers.go_on.clear()
    first = asyncio.create_task(numbers.current.get())
    await asyncio.to_thread(numbers.begun.wait, 10)
    second = asyncio.create_task(numbers.current.get())
    await asyncio.sleep(0)
    numbers.current.close()
    for client in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await client
    numbers.go_on.set()


@given(st.lists(st.binary()))
def test_a_text_is_sent_whole_in_either_form(pieces: list[bytes]) -> None:
    """Both lengths are announced before the first byte."""
    whole, text = b"".join(pieces), CompressedText(pieces)
    compressed = b"".join(text.compressed())
    assert len(compressed) == text.compressed_length
    assert gzip.decompress(compressed) == whole
    assert b"".join(text.plain()) == whole
    assert text.length == len(whole)


def test_a_text_is_sent_in_small_parts() -> None:
    """What a client does not read stays in memory, once for each client."""
    lines = [f'refresherd_up{{app="app{number}"}} 1\n'.encode() for number in range(100_000)]
    text = CompressedText(lines)
    assert text.length > 3_000_000
    assert text.compressed_length < text.length / 5
    for parts in (text.compressed(), text.plain()):
        assert max(map(len, parts)) < 64_000


async def test_renderings_that_nobody_waits_for_any_more_are_not_made() -> None:
    """A user who asks for three thousand searches and hangs up must not hold up those of others."""
    numbers = Numbers()
    keyed: SharedRenderings[int, tuple[int, int]] = SharedRenderings(
        "numbers", lambda key: (key, numbers.make()), numbers.executor, numbers.clock
    )
    numbers.go_on.clear()
    first = asyncio.create_task(keyed.get(0))
    await asyncio.to_thread(numbers.begun.wait, 10)
    leaving = [asyncio.create_task(keyed.get(key)) for key in range(1, 300)]
    await asyncio.sleep(0)
    for client in leaving:
        client.cancel()
    await asyncio.wait(leaving)
    staying = asyncio.create_task(keyed.get(300))
    numbers.go_on.set()
    assert await first == (0, 1)
    assert await staying == (300, 2)
    assert await keyed.get(7) == (7, 3)


async def test_a_client_does_not_wait_for_the_pause_after_its_own_rendering() -> None:
    """Only the next one waits: a person who searches once should see the result at once."""
    numbers = Numbers(took=60.0)
    keyed: SharedRenderings[int, tuple[int, int]] = SharedRenderings(
        "numbers", lambda key: (key, numbers.make()), numbers.executor, numbers.clock, rest_times=4
    )
    loop = asyncio.get_running_loop()
    times = [loop.time()]
    for number in (1, 2):
        assert await keyed.get(number) == (number, number)
        times.append(loop.time())
    first, second = times[1] - times[0], times[2] - times[1]
    assert second - first > MAX_REST_SECONDS / 2
