"""Hooks that signal real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from errno import EMFILE, ENOSYS, EPERM
from pathlib import Path

import pytest

from refresherd.adapters.hooks import RETRY_SECONDS, hooks
from refresherd.domain.errors import HookError
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, HookSpec
from refresherd.engine.ports import Hook
from refresherd.host.keyed_executor import KeyedExecutor
from support.processes import until

SERVICE = """
import os, signal
# Not print(), which fails if the signal comes while it prints the first line.
signal.signal(signal.SIGHUP, lambda *_: os.write(1, b"HUP\\n"))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""

STALE = "it is stale: the process that it names no longer exists"

SOON = 0.1
"""A timeout in seconds for hooks that look for a process in vain."""

IN_VAIN = "; retried for 0.1 s"


class Service:
    """A service that prints a line when it is signalled to reload."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True
        )
        assert self.line() == "ready\n"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def service() -> Iterator[Service]:
    """Yield a running service."""
    running = Service()
    yield running
    running.end()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the pid file."""
    return tmp_path / "payments.pid"


def signal_hook(
    file: Path, name: str = "HUP", timeout: float = 10.0, executor: KeyedExecutor | None = None
) -> Hook:
    """Return the hook of an app whose only hook is this signal."""
    endpoint, credential = Endpoint("https://dsm.example.com"), ApiKeyEnv("PAYMENTS_KEY")
    spec = HookSpec(signal=name, pid_file=file, timeout=timeout)
    app = App("payments", endpoint, credential, hooks=(spec,))
    (hook,) = hooks(app, {}, executor or KeyedExecutor(), asyncio.Semaphore(1))
    return hook


async def fault(hook: Hook, *, timed_out: bool = False) -> str:
    """Return the message of a hook that fails."""
    with pytest.raises(HookError) as caught:
        await hook.run(7)
    assert caught.value.timed_out == timed_out
    return str(caught.value)


def test_a_hooks_name_is_its_key_its_signal_and_its_pid_file(file: Path) -> None:
    """An operator sees which signal is sent, and where to look if it does not arrive."""
    assert (
        signal_hook(file, "SIGHUP").name == signal_hook(file).name == f"hooks[0] SIGHUP to {file}"
    )


@pytest.mark.parametrize(
    "text", ["{pid}", "{pid}\n", "  {pid}\r\n", "{pid}\n/var/lib\n" + "x" * 99]
)
async def test_the_process_that_the_file_names_gets_the_signal(
    file: Path, service: Service, text: str
) -> None:
    """Some services write more lines, some add spaces."""
    file.write_text(text.format(pid=service.pid))
    await signal_hook(file).run(1)
    assert service.line() == "HUP\n"


@pytest.mark.parametrize("error", [ENOSYS, EPERM, None])
async def test_a_signal_is_sent_without_process_descriptors(
    file: Path, service: Service, error: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel or Python may be too old for them, or a container may forbid them."""
    if error is None:
        monkeypatch.delattr(os, "pidfd_open")
    else:
        monkeypatch.setattr(os, "pidfd_open", refusing(error))
    file.write_text(str(service.pid))
    await signal_hook(file).run(1)
    assert service.line() == "HUP\n"


def refusing(error: int) -> Callable[[int], int]:
    """Return a system call that fails."""

    def refuse(_: int) -> int:
        raise OSError(error, os.strerror(error))

    return refuse


async def test_the_message_names_a_lack_of_descriptors(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator has to raise the limit, not to look at the service."""
    monkeypatch.setattr(os, "pidfd_open", refusing(EMFILE))
    file.write_text(str(service.pid))
    assert await fault(signal_hook(file)) == f"{file}: Too many open files"


async def test_a_service_that_restarts_meanwhile_gets_the_signal(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old process id may have passed to another process, which must not get the signal."""
    innocent, opened = Service(), os.pidfd_open

    def open_late(pid: int) -> int:
        file.write_text(str(service.pid))
        return opened(pid)

    try:
        monkeypatch.setattr(os, "pidfd_open", open_late)
        file.write_text(str(innocent.pid))
        await signal_hook(file).run(1)
        assert service.line() == "HUP\n"
        innocent.process.terminate()
        assert innocent.line() == ""
    finally:
        innocent.end()


@pytest.mark.parametrize("fallback", [False, True])
async def test_the_message_for_a_stale_file_says_so(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch, *, fallback: bool
) -> None:
    """A crashed service leaves its pid file behind."""
    if fallback:
        monkeypatch.setattr(os, "pidfd_open", refusing(ENOSYS))
    file.write_text(str(service.pid))
    service.end()
    assert await fault(signal_hook(file, timeout=SOON)) == f"{file}: {STALE}{IN_VAIN}"


@pytest.mark.parametrize("before", [None, "", "4194303\n"])
async def test_a_service_that_is_just_starting_gets_the_signal(
    file: Path, service: Service, before: str | None
) -> None:
    """It may write its pid file after the first token: missing, then empty, or a stale one."""
    if before is not None:
        file.write_text(before)
    running = asyncio.create_task(signal_hook(file).run(1))
    done, _ = await asyncio.wait({running}, timeout=RETRY_SECONDS / 2)
    assert not done
    file.write_text(f"{service.pid}\n")
    assert await running == ""
    assert service.line() == "HUP\n"


async def test_a_hook_that_waits_for_a_pid_file_can_be_cancelled(file: Path) -> None:
    """The daemon stops within five seconds."""
    running = asyncio.create_task(signal_hook(file).run(1))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n4711",
        "1",
        "0",
        "-5",
        "0x20",
        "47 11",
        "payments",
        "1234567890",
        "\u0664\u0662",
        "5" * 99,
    ],
)
async def test_a_file_without_a_process_id_is_an_error(file: Path, text: str) -> None:
    """Numbers up to 1 would signal init or whole process groups."""
    file.write_text(text)
    expected = f"{file}: its first line is not a process id above 1{IN_VAIN}"
    assert await fault(signal_hook(file, timeout=SOON)) == expected


async def test_refresherd_never_signals_itself(file: Path) -> None:
    """A HUP after each token would reload the daemon after each token."""
    file.write_text(str(os.getpid()))
    assert await fault(signal_hook(file)) == (
        f"{file}: it names refresherd itself; set the service's pid file"
    )


async def test_the_message_for_an_unreadable_file_names_it(tmp_path: Path, file: Path) -> None:
    """The service may not have been started yet, or its file may be elsewhere."""
    missing = f"{file}: No such file or directory{IN_VAIN}"
    assert await fault(signal_hook(file, timeout=SOON)) == missing
    assert await fault(signal_hook(tmp_path)) == f"{tmp_path}: Is a directory"


async def test_a_named_pipe_is_refused_at_once(file: Path) -> None:
    """Opening it would wait for a writer, and hold up all pid files in the directory."""
    os.mkfifo(file)

    assert "not a process id" in await fault(signal_hook(file, timeout=SOON))


@pytest.mark.parametrize("fallback", [False, True])
async def test_the_message_for_another_users_process_says_so(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch, *, fallback: bool
) -> None:
    """A daemon without privileges may only signal processes of its own user."""

    def refuse(_: int, number: signal.Signals) -> None:
        raise PermissionError(EPERM, number.name)

    if fallback:
        monkeypatch.setattr(os, "pidfd_open", refusing(ENOSYS))
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    file.write_text(str(service.pid))
    assert await fault(signal_hook(file)) == (
        f"process {service.pid} belongs to another user, and refresherd lacks CAP_KILL"
    )


async def test_a_hanging_disk_ends_with_the_timeout(file: Path, service: Service) -> None:
    """When the disk is back, nobody gets the abandoned signal."""
    file.write_text(str(service.pid))
    executor, disk = KeyedExecutor(), threading.Event()
    hanging = asyncio.create_task(executor.call(file.parent, disk.wait))
    message = await fault(signal_hook(file, timeout=0.1, executor=executor), timed_out=True)
    assert message == f"{file}: no answer for 0.1 s; its filesystem hangs or is overloaded"
    disk.set()
    await hanging
    await executor.drained()
    service.process.terminate()
    assert service.line() == ""


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_is_left_behind(file: Path, service: Service) -> None:
    """Hooks run for months, so any leak would add up."""
    hook = signal_hook(file, timeout=SOON)
    before = descriptors()
    for text in (str(service.pid), "nonsense", str(2**22 + 1)):
        file.write_text(text)
        try:
            await hook.run(1)
        except HookError:
            continue
    await until(lambda: descriptors() == before)
