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

from refresherd.adapters.hooks import hooks
from refresherd.domain.errors import HookError
from refresherd.domain.model import ApiKeyEnv, App, Endpoint, HookSpec
from refresherd.engine.ports import Hook
from refresherd.host.keyed_executor import KeyedExecutor
from support.processes import until

SERVICE = """
import signal, sys
signal.signal(signal.SIGHUP, lambda *_: print("HUP", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""

STALE = "stale; the process that it names is gone"


class Service:
    """A service that says so when it is to reload."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True
        )
        assert self.said() == "ready\n"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def said(self) -> str:
        """Return its next line."""
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
    """Return where the pid file is."""
    return tmp_path / "payments.pid"


def made(
    file: Path, name: str = "HUP", timeout: float = 10.0, executor: KeyedExecutor | None = None
) -> Hook:
    """Return the hook of an app that has one."""
    endpoint, credential = Endpoint("https://dsm.example.com"), ApiKeyEnv("PAYMENTS_KEY")
    spec = HookSpec(signal=name, pid_file=file, timeout=timeout)
    app = App("payments", endpoint, credential, hooks=(spec,))
    (hook,) = hooks(app, {}, executor or KeyedExecutor(), asyncio.Semaphore(1))
    return hook


async def fault(hook: Hook, *, timed_out: bool = False) -> str:
    """Return why a hook fails."""
    with pytest.raises(HookError) as caught:
        await hook.run(7)
    assert caught.value.timed_out == timed_out
    return str(caught.value)


def test_a_hook_is_known_by_what_it_does(file: Path) -> None:
    """Which signal, and where to look when it does not come."""
    assert made(file, "SIGHUP").name == made(file).name == f"hooks[0] SIGHUP to {file}"


@pytest.mark.parametrize(
    "text", ["{pid}", "{pid}\n", "  {pid}\r\n", "{pid}\n/var/lib\n" + "x" * 99]
)
async def test_the_process_that_the_file_names_gets_the_signal(
    file: Path, service: Service, text: str
) -> None:
    """However the service writes it: some add lines, some spaces."""
    file.write_text(text.format(pid=service.pid))
    await made(file).run(1)
    assert service.said() == "HUP\n"


@pytest.mark.parametrize("error", [ENOSYS, EPERM, None])
async def test_a_kernel_without_process_descriptors_will_do(
    file: Path, service: Service, error: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enterprise distributions have old ones, containers forbid much, and so may Python be old."""
    if error is None:
        monkeypatch.delattr(os, "pidfd_open")
    else:
        monkeypatch.setattr(os, "pidfd_open", refusing(error))
    file.write_text(str(service.pid))
    await made(file).run(1)
    assert service.said() == "HUP\n"


def refusing(error: int) -> Callable[[int], int]:
    """Return a call that fails."""

    def refuse(_: int) -> int:
        raise OSError(error, os.strerror(error))

    return refuse


async def test_a_host_that_is_full_is_told(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator is to raise the limit, and not to look for the service."""
    monkeypatch.setattr(os, "pidfd_open", refusing(EMFILE))
    file.write_text(str(service.pid))
    assert await fault(made(file)) == f"{file}: Too many open files"


async def test_a_service_that_restarts_meanwhile_is_found(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old number may be another process' by then, which must not get the signal."""
    innocent, opened = Service(), os.pidfd_open

    def open_late(pid: int) -> int:
        file.write_text(str(service.pid))
        return opened(pid)

    try:
        monkeypatch.setattr(os, "pidfd_open", open_late)
        file.write_text(str(innocent.pid))
        await made(file).run(1)
        assert service.said() == "HUP\n"
        innocent.process.terminate()
        assert innocent.said() == ""
    finally:
        innocent.end()


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_stale_file_is_told(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch, *, fallback: bool
) -> None:
    """A service that crashed has left it there."""
    if fallback:
        monkeypatch.setattr(os, "pidfd_open", refusing(ENOSYS))
    file.write_text(str(service.pid))
    service.end()
    assert await fault(made(file)) == f"{file}: {STALE}"


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
async def test_what_names_no_process_is_told(file: Path, text: str) -> None:
    """The numbers up to 1 would reach init, and whole groups of processes."""
    file.write_text(text)
    expected = f"{file}: its first line is no process id above 1"
    assert await fault(made(file)) == expected


async def test_refresherd_never_signals_itself(file: Path) -> None:
    """A HUP for each token would reload it for each token."""
    file.write_text(str(os.getpid()))
    assert await fault(made(file)) == f"{file}: names refresherd itself"


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, file: Path) -> None:
    """The service has not been started yet, or its file is elsewhere."""
    assert await fault(made(file)) == f"{file}: No such file or directory"
    assert await fault(made(tmp_path)) == f"{tmp_path}: Is a directory"


async def test_a_named_pipe_holds_up_nobody(file: Path) -> None:
    """Opening one waits for a writer, and other pid files of that directory would wait too."""
    os.mkfifo(file)
    assert "no process id" in await fault(made(file))


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_process_out_of_reach_is_told(
    file: Path, service: Service, monkeypatch: pytest.MonkeyPatch, *, fallback: bool
) -> None:
    """A daemon without privileges may signal its own user's processes only."""

    def refuse(_: int, number: signal.Signals) -> None:
        raise PermissionError(EPERM, number.name)

    if fallback:
        monkeypatch.setattr(os, "pidfd_open", refusing(ENOSYS))
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    file.write_text(str(service.pid))
    expected = f"process {service.pid} is another user's; refresherd may not signal it"
    assert await fault(made(file)) == expected


async def test_a_disk_that_hangs_is_not_waited_for(file: Path, service: Service) -> None:
    """And once it is back nobody gets a signal that was given up."""
    file.write_text(str(service.pid))
    executor, disk = KeyedExecutor(), threading.Event()
    hanging = asyncio.create_task(executor.call(file.parent, disk.wait))
    message = await fault(made(file, timeout=0.1, executor=executor), timed_out=True)
    assert message == f"{file}: the disk takes over 0.1 s"
    disk.set()
    await hanging
    await executor.drained()
    service.process.terminate()
    assert service.said() == ""


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_is_left_behind(file: Path, service: Service) -> None:
    """Hooks run for months."""
    hook = made(file)
    before = descriptors()
    for text in (str(service.pid), "nonsense", str(2**22 + 1)):
        file.write_text(text)
        try:
            await hook.run(1)
        except HookError:
            continue
    await until(lambda: descriptors() == before)
