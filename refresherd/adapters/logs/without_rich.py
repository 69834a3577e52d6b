"""structlog without rich, which it would import for tracebacks that are never used: 3.6 MiB."""

import sys

# None in sys.modules makes an import fail, which structlog takes for "not installed".
_hide_rich = "rich" not in sys.modules
if _hide_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # documented, but not in typeshed
try:
    import structlog
    import structlog.dev
finally:
    if _hide_rich:
        del sys.modules["rich"]

__all__ = ["structlog"]
