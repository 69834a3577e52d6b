"""A stop that is over in time, whatever hangs."""

import os
import threading
import time


def end_after(seconds: float) -> None:
    """Have this process end by then, successfully, if it has not by itself.

    By a thread: what hangs may be the event loop itself, in a call to a dead filesystem.
    """
    threading.Thread(target=_end, args=(seconds,), name="end", daemon=True).start()


def _end(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(os.EX_OK)
