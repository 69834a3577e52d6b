"""A bug's traceback, without what may be a credential: an error's text may hold anything."""

import sys
import traceback
from types import TracebackType


def message(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Print a traceback as the interpreter does, redacted: for `sys.excepthook`."""
    from refresherd.domain.redaction import redact  # noqa: PLC0415  # rarely used

    print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
