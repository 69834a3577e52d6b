"""What a look at the configuration finds, each at its key; lines are looked up at the end."""

from pathlib import Path

from refresherd.config.lines import KeyPath, locate
from refresherd.config.wording import dotted

FIRST_LINE = 1


class Findings:
    """Faults or warnings, each once, in the order of the file's lines when told."""

    def __init__(self) -> None:
        self._messages: dict[KeyPath, list[str]] = {}

    def add(self, path: KeyPath, message: str) -> None:
        """Take note of what is wrong at a key, and what would be right."""
        messages = self._messages.setdefault(path, [])
        if message not in messages:
            messages.append(message)

    def __contains__(self, path: KeyPath) -> bool:
        return path in self._messages

    def __len__(self) -> int:
        return sum(map(len, self._messages.values()))

    def lines(self, file: Path, text: str) -> tuple[str, ...]:
        """Return `FILE:LINE: key.path: message` for each; `text` is the file's valid TOML.

        What stands nowhere, such as a missing key, is told at the line of its table.
        """
        if not self._messages:
            return ()
        known = locate(text)
        told = [
            (line_of(known, path), f"{dotted(path)}: {message}" if path else message)
            for path, messages in self._messages.items()
            for message in messages
        ]
        return tuple(f"{file}:{line}: {rest}" for line, rest in sorted(told, key=lambda it: it[0]))


def line_of(known: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of a key, or of the nearest table around it that the file has."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, FIRST_LINE)
