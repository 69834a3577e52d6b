"""What a connection costs that is refused: in a flood, this decides who is faster."""

import subprocess
import sys
from pathlib import Path

from support.lab import needs_tool

REFUSING = """
import asyncio, socket, sys
from refresherd.domain.connection_quota import Quota
from refresherd.host import peers
from refresherd.host.admission import Admission
from refresherd.host.listener import Listener

class Silent:
    def observe(self, event):
        pass

def stranger(connection, address):
    peers.user(connection, address)
    return 1234

async def refuse(connections):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")
        listening.listen(1000)
        listening.setblocking(False)
        admission = Admission(Silent(), Quota(arrivals_per_second=0.001, arrivals_at_once=1))
        Listener(listening, "api", admission, user=stranger, serve=None).start()
        admission.arrive(1234, "api")
        for _ in range(connections // 500):
            for _ in range(500):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(listening.getsockname())
            await asyncio.sleep(0)
            await asyncio.sleep(0)

asyncio.run(refuse(int(sys.argv[1])))
"""

OF_THE_CLIENT = 4
"""socket, connect, close, and getsockname for the address."""

OF_THE_DAEMON = 4
"""accept4, getsockname (Python's own check), getsockopt for the user, close."""


def system_calls(connections: int, place: Path) -> int:
    """Return how many system calls a program makes that refuses so many connections."""
    table = place / f"{connections}.calls"
    strace = (needs_tool("strace"), "-f", "-c", "-U", "calls,name", "-o", str(table))
    subprocess.run([*strace, sys.executable, "-c", REFUSING, str(connections)], check=True)
    rows = (line.split() for line in table.read_text().splitlines())
    return next(int(row[0]) for row in rows if row[1:] == ["total"])


def test_a_refused_connection_costs_four_system_calls(tmp_path: Path) -> None:
    """An attacker needs three for each, so that one process is slower than the daemon."""
    few, many = 1000, 5000
    more = system_calls(many, tmp_path) - system_calls(few, tmp_path)
    each = more / (many - few) - OF_THE_CLIENT
    assert OF_THE_DAEMON <= each < OF_THE_DAEMON + 0.1
