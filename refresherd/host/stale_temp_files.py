"""Temporary files that killed runs left behind, found by their names."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass

from refresherd.domain.model import Instant
from refresherd.host.atomic_file import Target

TEMPORARY = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
"""The name of a temporary file, with the eight random bytes that make each one new."""

FRESH_SECONDS = 1.0
"""What a killed run left does not change: all outputs of a start share a listing."""


@dataclass(frozen=True, slots=True)
class _Listing:
    taken_at: Instant
    names: dict[str, list[str]]


class Leftovers:
    """The leftovers in every directory. Each directory is asked for in one thread at a time.

    A directory with ten thousand tokens takes milliseconds to list: to do so for each
    of its ten thousand outputs would take half a minute.
    """

    def __init__(self) -> None:
        self._listings: dict[str, _Listing] = {}

    def take(self, directory: int, target: Target, now: Instant) -> list[str]:
        """Return the names of a target's leftovers, each once. Raises OSError."""
        listing = self._listings.get(target.directory)
        if listing is None or now - listing.taken_at >= FRESH_SECONDS:
            listing = self._listings[target.directory] = _Listing(now, _listed(directory))
        return listing.names.pop(target.name, [])


def _listed(directory: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name in os.listdir(directory):
        # The cheap question first: nearly all are tokens.
        if name.endswith(".tmp") and (match := TEMPORARY.fullmatch(name)):
            names[match["target"]].append(name)
    return names
