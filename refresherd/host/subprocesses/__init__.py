"""Programs run in a session of their own, and ended together with what they started.

asyncio starts a program in the event loop, which a file system that hangs would stop, and
waits for its end until every grandchild has closed its pipes as well. Here each program has
a thread of its own, which starts it and waits for its end, and for nothing else.
"""

from refresherd.host.subprocesses.child import run
from refresherd.host.subprocesses.program import Program
from refresherd.host.subprocesses.tail import Tail

__all__ = ["Program", "Tail", "run"]
