"""From a TOML document to typed settings, key by key, so that every fault is found at once."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from refresherd.config.app_settings import AppTable
from refresherd.config.explanations import invalid_value, unknown_key
from refresherd.config.findings import Finding, KeyPath
from refresherd.config.scalars import Argument, Location, Scalar
from refresherd.config.settings import DsmTable, RefreshTable, RootTable, keys, parts

T = TypeVar("T", bound=Struct)
S = TypeVar("S", bound=Scalar)


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

    def where(self, key: str) -> KeyPath:
        """Return where the value of a key that may be inherited is written."""
        if key in self.written:
            return (*self.path, key)
        return ("dsm" if key in keys(DsmTable) else "refresh", key)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file, typed, and its environment. A default replaces each invalid value."""

    file: Path
    """The configuration file's absolute path."""
    environ: Mapping[str, str]
    """The daemon's environment."""
    root: RootTable
    apps: tuple[AppSettings, ...]
    values: tuple[tuple[KeyPath, Scalar], ...]
    """The valid strings of the file with their key paths; the type of each says what it is for."""
    faults: tuple[Finding, ...]
    """Faults of single keys, independent of other keys and of this host."""
    shared: frozenset[KeyPath]
    """The key paths that are written under [dsm] and [refresh]."""
    invalid: frozenset[KeyPath]
    """The key paths of `faults`: checks do not judge the defaults that took their place."""

    def valid(self, *paths: KeyPath) -> bool:
        """Return whether no value at these key paths is a stand-in for an invalid one."""
        return self.invalid.isdisjoint(paths)

    def written(self, kind: type[S]) -> Iterator[tuple[KeyPath, S]]:
        """Yield the key paths and values of a kind that are in the file, except for ""."""
        return ((key, value) for key, value in self.values if value and isinstance(value, kind))

    @property
    def programs(self) -> Iterator[tuple[KeyPath, Argument]]:
        """The programs of commands, with their key paths."""
        for key, value in self.values:
            if isinstance(value, Argument) and key[-1] == 0:
                yield key, value

    @property
    def search_path(self) -> str:
        """The directories in which programs are looked up, separated by colons."""
        return self.environ.get("PATH", os.defpath)

    @property
    def state_dir(self) -> Path | None:
        """The configured state directory, or the first that systemd has made, or None."""
        # Several directories are separated by colons: systemd.exec(5), StateDirectory=.
        first = self.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return self.root.state_dir.or_none or (Path(first) if first else None)

    @property
    def credentials_directory(self) -> Path | None:
        """The directory of the service's systemd credentials, None if it has none."""
        directory = self.environ.get("CREDENTIALS_DIRECTORY", "")
        return Path(directory) if directory else None


def parse_settings(written: Mapping[str, Any], file: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings in a TOML document, with their faults; it never raises.

    `file` is the configuration file's absolute path: paths in it are relative to its directory.
    """
    parser = _Parser(file.parent)
    parser.refuse_unknown(written, (), (*keys(RootTable), "apps"))
    root = parser.table(RootTable, written, (), RootTable())
    apps = tuple(parser.apps(written.get("apps", {}), root))
    values, faults = tuple(parser.values), tuple(parser.faults)
    shared = frozenset(
        (name, key)
        for name in ("dsm", "refresh")
        if isinstance(table := written.get(name), dict)
        for key in table
    )
    invalid = frozenset(fault.path for fault in faults)
    return Settings(file, environ, root, apps, values, faults, shared, invalid)


class _Parser:
    def __init__(self, base: Path) -> None:
        self._base = base
        self.values: list[tuple[KeyPath, Scalar]] = []
        self.faults: list[Finding] = []

    def apps(self, written: object, root: RootTable) -> Iterator[AppSettings]:
        if not isinstance(written, dict):
            message = "this is not a table; write a table headed [apps.NAME] for each app"
            self.faults.append(Finding(("apps",), message))
            return
        known = (*keys(AppTable), *keys(DsmTable), *keys(RefreshTable))
        for name, app in written.items():
            path = ("apps", name)
            if not isinstance(app, dict):
                self.faults.append(Finding(path, invalid_value(AppTable, app, path, None)))
                continue
            self.refuse_unknown(app, path, known)
            yield AppSettings(
                name,
                own=self.table(AppTable, app, path, AppTable()),
                dsm=self.table(DsmTable, app, path, root.dsm),
                refresh=self.table(RefreshTable, app, path, root.refresh),
                written=app.keys(),
            )

    def table(self, table: type[T], written: Mapping[str, Any], path: KeyPath, default: T) -> T:
        """Return a table, with the default's values for keys that are not written."""
        changed = {
            key: self._value(field.type, written[key], (*path, key), getattr(default, key))
            for key, field in keys(table).items()
            if key in written
        }
        return msgspec.structs.replace(default, **changed) if changed else default

    def refuse_unknown(
        self, written: Mapping[str, Any], path: KeyPath, known: tuple[str, ...]
    ) -> None:
        for key in (key for key in written if key not in known):
            message = unknown_key(key, written[key], path, known)
            self.faults.append(Finding((*path, key), message))

    def _value(self, wanted: object, value: object, path: KeyPath, default: Any) -> Any:  # noqa: ANN401 -- as annotated
        target = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
        if get_origin(target) is tuple and isinstance(value, list):
            item = get_args(target)[0]
            stand_in = _stand_in(item)
            return tuple(
                self._value(item, element, (*path, index), stand_in)
                for index, element in enumerate(value)
            )
        if isinstance(value, dict) and isinstance(target, type) and issubclass(target, Struct):
            self.refuse_unknown(value, path, tuple(keys(target)))
            return self.table(target, value, path, default)
        try:
            typed = msgspec.convert(value, wanted, dec_hook=self._scalar)
        except msgspec.ValidationError as error:
            # Its cause is the scalar's own error; msgspec's text is for programmers.
            message = str(error.__cause__ or "") or invalid_value(wanted, value, path, default)
            self.faults.append(Finding(path, message))
            return default
        if isinstance(typed, Scalar):
            self.values.append((path, typed))
        return typed

    def _scalar(self, kind: type[Scalar], value: object) -> Scalar:
        if not isinstance(value, str):
            raise TypeError
        return kind(value, self._base) if issubclass(kind, Location) else kind(value)


def _stand_in(item: Any) -> Any:  # noqa: ANN401 -- a type, and a value of that type
    """Return what replaces an invalid element of a list, which has no default."""
    if issubclass(item, Struct):
        required = (field for field in keys(item).values() if field.required)
        return item(**{field.name: _stand_in(parts(field.type)[0]) for field in required})
    return item(item.stand_in)
