"""The daemon's log: events as lines, without secrets, at a bounded rate.

structlog would import rich for tracebacks that are never used, at a cost of 3.6 MiB. So it is
imported here first, while rich is hidden.
"""

import sys

# None in sys.modules makes an import fail, which structlog takes for "not installed".
_hide_rich = "rich" not in sys.modules
if _hide_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # documented, but not in typeshed
try:
    import structlog.dev
finally:
    if _hide_rich:
        del sys.modules["rich"]

__all__ = ["structlog"]
