"""haproxy in front of DSM, as many sites have it: it closes idle connections."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from faults.rig.ports import unused_port
from support.programs import PATIENCE

IDLE = "1s"
"""As long as the pauses between requests, so that requests meet a closing connection."""

CONFIGURATION = """
global
  maxconn 100
defaults
  mode http
  retries 0
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  timeout http-request 2s
  timeout http-keep-alive {idle}
frontend dsm
  bind 127.0.0.1:{port}
  default_backend gate
backend gate
  server gate 127.0.0.1:{behind}
"""


def program() -> str | None:
    """Return where haproxy is; Debian has it in /usr/sbin, which may not be on PATH."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


@asynccontextmanager
async def reverse_proxy(directory: Path, behind: int) -> AsyncIterator[str]:
    """Run haproxy in front of a local port, and yield its URL."""
    port = unused_port()
    config = directory / f"haproxy-{port}.cfg"
    config.write_text(CONFIGURATION.format(port=port, behind=behind, idle=IDLE))
    process = await asyncio.create_subprocess_exec(
        str(program()), "-db", "-f", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
