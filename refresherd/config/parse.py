"""From a TOML document to typed settings, key by key, so that every fault is found at once."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from refresherd.config.app_settings import AppTable, FileTable, SocketTable
from refresherd.config.complaints import invalid_value, unknown_key
from refresherd.config.findings import Finding, KeyPath
from refresherd.config.scalars import Location, Scalar
from refresherd.config.settings import DsmTable, RefreshTable, RootTable, bare, keys

T = TypeVar("T", bound=Struct)

Value: TypeAlias = Any
"""A key's value, of the type that its annotation says."""


@dataclass(frozen=True, slots=True)
class AppSettings:
    """An app's tables, with the defaults that it inherits from [dsm] and [refresh]."""

    name: str
    own: AppTable
    dsm: DsmTable
    refresh: RefreshTable
    written: Collection[str]
    """The keys that are written under the app itself."""

    @property
    def path(self) -> KeyPath:
        """The key path of the app's table."""
        return ("apps", self.name)

    def outputs(self) -> Iterator[tuple[KeyPath, FileTable | SocketTable]]:
        """Yield the key path and the table of each file and socket."""
        for index, file in enumerate(self.own.files):
            yield (*self.path, "files", index), file
        for index, socket in enumerate(self.own.sockets):
            yield (*self.path, "sockets", index), socket

    def where(self, key: str) -> KeyPath:
        """Return where the value of a key that may be inherited is written."""
        if key in self.written:
            return (*self.path, key)
        return ("dsm" if key in keys(DsmTable) else "refresh", key)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file, typed. A default takes the place of an invalid value."""

    file: Path
    """The configuration file's absolute path."""
    root: RootTable
    apps: tuple[AppSettings, ...]
    written: Mapping[str, Any]
    """The TOML document."""
    faults: tuple[Finding, ...]
    """What is wrong with single keys, whatever the others and the machine are like."""
    invalid: frozenset[KeyPath]
    """The key paths of `faults`: checks do not judge the defaults that took their place."""

    def valid(self, *paths: KeyPath) -> bool:
        """Return whether no value at these key paths is a stand-in for an invalid one."""
        return self.invalid.isdisjoint(paths)


def parse_settings(written: Mapping[str, Any], file: Path) -> Settings:
    """Return the settings in a TOML document, with their faults; it never raises.

    `file` is the configuration file's absolute path: paths in it are relative to its directory.
    """
    parser = _Parser(file.parent)
    root = parser.root(written)
    apps = parser.apps(written.get("apps", {}), root)
    faults = tuple(parser.faults)
    return Settings(file, root, apps, written, faults, frozenset(path for path, _ in faults))


class _Parser:
    def __init__(self, base: Path) -> None:
        self.faults: list[Finding] = []
        self._hook: Callable[[type, Any], Any] = lambda kind, value: _scalar(kind, value, base)

    def root(self, written: Mapping[str, Any]) -> RootTable:
        self._refuse_unknown(written, (), (*keys(RootTable), "apps"))
        return self._table(RootTable, written, (), RootTable())

    def apps(self, written: object, root: RootTable) -> tuple[AppSettings, ...]:
        if not isinstance(written, dict):
            message = "this is not a table; write a table headed [apps.NAME] for each app"
            self.faults.append(Finding(("apps",), message))
            return ()
        apps = (self._app(name, app, root) for name, app in written.items())
        return tuple(app for app in apps if app is not None)

    def _app(self, name: str, written: object, root: RootTable) -> AppSettings | None:
        path = ("apps", name)
        if not isinstance(written, dict):
            self.faults.append(Finding(path, invalid_value(AppTable, written, path, None)))
            return None
        own, inherited = keys(AppTable), (*keys(DsmTable), *keys(RefreshTable))
        self._refuse_unknown(written, path, (*own, *inherited))
        return AppSettings(
            name,
            own=self._table(AppTable, written, path, AppTable()),
            dsm=self._table(DsmTable, written, path, root.dsm),
            refresh=self._table(RefreshTable, written, path, root.refresh),
            written=written.keys(),
        )

    def _table(self, table: type[T], written: Mapping[str, Any], path: KeyPath, default: T) -> T:
        """Return a table, with the default's values for keys that are not written."""
        changed = {
            key: self._value(field.type, written[key], (*path, key), getattr(default, key))
            for key, field in keys(table).items()
            if key in written
        }
        return msgspec.structs.replace(default, **changed) if changed else default

    def _value(self, wanted: object, value: object, path: KeyPath, default: Value) -> Value:
        target = bare(wanted)
        if get_origin(target) is tuple and isinstance(value, list):
            item = get_args(target)[0]
            blank = _blank(item)
            return tuple(
                self._value(item, element, (*path, index), blank)
                for index, element in enumerate(value)
            )
        if isinstance(value, dict) and isinstance(target, type) and issubclass(target, Struct):
            self._refuse_unknown(value, path, tuple(keys(target)))
            return self._table(target, value, path, default)
        try:
            return msgspec.convert(value, wanted, dec_hook=self._hook)
        except msgspec.ValidationError as error:
            # Its cause is the scalar's own error; msgspec's text is for programmers.
            message = str(error.__cause__ or "") or invalid_value(wanted, value, path, default)
            self.faults.append(Finding(path, message))
            return default

    def _refuse_unknown(
        self, written: Mapping[str, Any], path: KeyPath, known: tuple[str, ...]
    ) -> None:
        for key in (key for key in written if key not in known):
            message = unknown_key(key, written[key], path, known)
            self.faults.append(Finding((*path, key), message))


def _blank(wanted: object) -> Value:
    """Return the stand-in for an invalid element of a list, which has no default."""
    target = bare(wanted)
    if issubclass(target, Struct):
        required = (field for field in keys(target).values() if field.required)
        return target(**{field.name: _blank(field.type) for field in required})
    return target(target.stand_in) if issubclass(target, Scalar) else target()


def _scalar(kind: type, value: object, base: Path) -> object:
    if not isinstance(value, str):
        raise TypeError
    if kind is Location:
        return Location(value, base)
    return kind(value)
