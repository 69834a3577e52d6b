"""The `env` format, read: `KEY=value` lines as variables for a program's environment."""

import os
import re
from collections.abc import Mapping

from refresherd.cli.client.failures import Unintelligible

TOKEN = "FORTANIX_ACCESS_TOKEN"  # noqa: S105  # the variable's name

LINE = rb"(FORTANIX_[A-Z0-9_]+)=([^\x00]*)"
"""No other variables: nothing that answers on a socket may set a program's LD_PRELOAD."""


def variables(text: bytes) -> Mapping[str, str]:
    """Return the variables. Raises Unintelligible for what is not the format, to the letter."""
    *lines, rest = text.split(b"\n")
    found: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(LINE, line)
        if match is None or match[1].decode() in found:
            raise Unintelligible("the daemon's `env` format has a line that is no variable")
        found[match[1].decode()] = os.fsdecode(match[2])
    if rest or not found.get(TOKEN):
        raise Unintelligible("the daemon's `env` format lacks the token, or an end")
    return found
