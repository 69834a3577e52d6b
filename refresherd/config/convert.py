"""From what the TOML reader returns to tables, field by field, so that every fault is told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from refresherd.config.document import AppDocument, Document, known
from refresherd.config.expectations import bare, complaint
from refresherd.config.findings import Findings
from refresherd.config.lines import KeyPath
from refresherd.config.scalars import Location, Scalar
from refresherd.config.tables import AppTable, DsmTable, RefreshTable, RootTable
from refresherd.config.unknown import unknown_key

T = TypeVar("T", bound=Struct)

Value: TypeAlias = Any
"""What a field holds: its annotation decides."""


def convert(written: Mapping[str, Any], file: Path, faults: Findings) -> Document:
    """Return the tables of what the TOML reader returned; `file` is the file's absolute path.

    Never raises: whatever is wrong goes into `faults`.
    """
    converter = _Converter(file.parent, faults)
    root, apps = converter.root(written), written.get("apps", {})
    if not isinstance(apps, dict):
        faults.add(("apps",), "this is no table; write one for each app, headed [apps.NAME]")
        apps = {}
    documents = (converter.app(name, app, root) for name, app in apps.items())
    return Document(file, root, tuple(app for app in documents if app is not None), written)


class _Converter:
    def __init__(self, base: Path, faults: Findings) -> None:
        self._faults = faults
        self._hook: Callable[[type, Any], Any] = lambda kind, value: _scalar(kind, value, base)

    def root(self, written: Mapping[str, Any]) -> RootTable:
        self._refuse_unknown(written, (), (*known(RootTable), "apps"))
        return self._table(RootTable, written, (), RootTable())

    def app(self, name: str, written: object, root: RootTable) -> AppDocument | None:
        path = ("apps", name)
        if not isinstance(written, dict):
            self._faults.add(path, complaint(AppTable, written, path, None))
            return None
        self._refuse_unknown(
            written, path, (*known(AppTable), *known(DsmTable), *known(RefreshTable))
        )
        return AppDocument(
            name,
            own=self._table(AppTable, written, path, AppTable()),
            dsm=self._table(DsmTable, written, path, root.dsm),
            refresh=self._table(RefreshTable, written, path, root.refresh),
            given=written.keys(),
        )

    def _table(self, table: type[T], written: Mapping[str, Any], path: KeyPath, default: T) -> T:
        """Return a table, with the default's values for keys that are not written."""
        changed = {
            key: self._value(field.type, written[key], (*path, key), getattr(default, key))
            for key, field in known(table).items()
            if key in written
        }
        return msgspec.structs.replace(default, **changed) if changed else default

    def _value(self, wanted: object, value: object, path: KeyPath, default: Value) -> Value:
        target = bare(wanted)
        if get_origin(target) is tuple and isinstance(value, list):
            item = get_args(target)[0]
            empty = blank(item)
            return tuple(
                self._value(item, element, (*path, index), empty)
                for index, element in enumerate(value)
            )
        if isinstance(value, dict) and isinstance(target, type) and issubclass(target, Struct):
            self._refuse_unknown(value, path, tuple(known(target)))
            return self._table(target, value, path, default)
        try:
            return msgspec.convert(value, wanted, dec_hook=self._hook)
        except msgspec.ValidationError as error:
            # The hook's own words, where it has any; msgspec's are for programmers.
            said = str(error.__cause__ or "")
            self._faults.add(path, said or complaint(wanted, value, path, default))
            return default

    def _refuse_unknown(
        self, written: Mapping[str, Any], path: KeyPath, keys: tuple[str, ...]
    ) -> None:
        for key in (key for key in written if key not in keys):
            self._faults.add((*path, key), unknown_key(key, written[key], path, keys))


def blank(wanted: object) -> Value:
    """Return what stands in for a faulty value that has no default."""
    target = bare(wanted)
    if issubclass(target, Struct):
        required = (field for field in known(target).values() if field.required)
        return target(**{field.name: blank(field.type) for field in required})
    return target(target.stand_in) if issubclass(target, Scalar) else target()


def _scalar(kind: type, value: object, base: Path) -> object:
    if not isinstance(value, str):
        raise TypeError
    if kind is Location:
        return Location(value, base)
    return kind(value)
