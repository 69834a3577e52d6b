"""The file's tables, with the key path of each: what rules and checks look at."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from refresherd.config.lines import KeyPath
from refresherd.config.tables import (
    AppTable,
    DsmTable,
    FileTable,
    RefreshTable,
    RootTable,
    SocketTable,
)


@dataclass(frozen=True, slots=True)
class AppDocument:
    """An app as written, with the defaults that it takes from [dsm] and [refresh].

    `given` are the keys that stand under the app itself.
    """

    name: str
    own: AppTable
    dsm: DsmTable
    refresh: RefreshTable
    given: Collection[str]

    @property
    def path(self) -> KeyPath:
        """Where the app's table stands."""
        return ("apps", self.name)

    def outputs(self) -> Iterator[tuple[KeyPath, FileTable | SocketTable]]:
        """Return where each file and socket stands, and its table."""
        for index, file in enumerate(self.own.files):
            yield (*self.path, "files", index), file
        for index, socket in enumerate(self.own.sockets):
            yield (*self.path, "sockets", index), socket

    def where(self, key: str) -> KeyPath:
        """Return where a key that may be inherited gets its value from."""
        if key in self.given:
            return (*self.path, key)
        return ("dsm" if key in known(DsmTable) else "refresh", key)


@dataclass(frozen=True, slots=True)
class Document:
    """The whole file. Where a value was faulty, its default stands in for it.

    `file` is absolute, `given` what the TOML reader returned.
    """

    file: Path
    root: RootTable
    apps: tuple[AppDocument, ...]
    given: Mapping[str, Any]

    def gives(self, table: str, key: str) -> bool:
        """Return whether a table at the top sets a key itself."""
        return isinstance(self.given.get(table), dict) and key in self.given[table]


@cache
def known(table: type[Struct]) -> Mapping[str, FieldInfo]:
    """Return a table's keys."""
    return {field.name: field for field in fields(table)}
