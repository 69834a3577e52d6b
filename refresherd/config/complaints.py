"""What to tell an operator about an invalid value or an unknown key."""

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import Struct

from refresherd.config.app_settings import AppTable
from refresherd.config.findings import (
    KeyPath,
    dotted,
    kind,
    listed,
    nearest,
    quoted,
    shown,
)
from refresherd.config.scalars import Scalar
from refresherd.config.settings import RootTable, bare, constraints, keys
from refresherd.domain.redaction import holds_secret

BUILT_IN: dict[Any, tuple[str, str]] = {
    int: ("whole number", "a whole number"),
    float: ("number", "a number"),
}
"""How to name types that are not ours, and what to write for them."""

SECRETS = frozenset(
    {
        *("api_key", "apikey", "app_key", "key", "credential", "secret", "password", "passphrase"),
        *("basic", "bearer", "token", "access_token", "app_token"),
    }
)
"""Keys under which somebody may have written a secret itself."""

MOST_LISTED = 8


def invalid_value(wanted: object, value: object, path: KeyPath, default: object) -> str:
    """Return what is wrong with the value at a key, and what to write instead.

    `wanted` is the key's type; the default, or else an example, shows how it is written.
    """
    target = bare(wanted)
    if isinstance(target, type) and issubclass(target, Enum):
        return _invalid_choice(target, value)
    noun, expected = _wanted(target, path)
    if not _right_type(target, value):
        problem = f"{shown(value)} is {kind(value)}"
    elif target in (int, float):
        problem, expected = f"{shown(value)} is out of range", expected + _range(wanted)
    else:
        problem = f"{shown(value)} is not a valid {noun}"
    return f"{problem}; write {expected}{_such_as(wanted, default)}"


def unknown_key(key: str, value: object, table: KeyPath, known: tuple[str, ...]) -> str:
    """Return what to do about a key that its table does not know; its value is never shown."""
    if isinstance(value, str) and (key.lower() in SECRETS or holds_secret(value)):
        return (
            "unknown key; secrets must not be in this file: put the API key in a file of its own "
            "(chmod 0600) and write its path as api_key_file"
        )
    meant = nearest(key, known)
    in_app = len(table) == len(("apps", "NAME"))
    if in_app and isinstance(value, dict) and meant not in dict(_tables(AppTable)):
        return 'unknown key; an app name with a dot needs quotes: [apps."a.b"]'
    if meant:
        return f"unknown key; did you mean {quoted(meant)}?"
    if home := _homes().get(key):
        return f"unknown key here; it belongs {home}"
    if len(known) <= MOST_LISTED:
        return f"unknown key; the keys here are {listed(sorted(known), 'and')}"
    return "unknown key; `refresherd schema` lists all keys"


def _wanted(target: Any, path: KeyPath) -> tuple[str, str]:  # noqa: ANN401 -- a type
    if get_origin(target) is tuple:
        item = bare(get_args(target)[0])
        tables = isinstance(item, type) and issubclass(item, Struct)
        return "list", f"tables headed [[{dotted(path)}]]" if tables else "a list of strings"
    if issubclass(target, Struct):
        return "table", f"a table headed [{dotted(path)}]"
    if issubclass(target, Scalar):
        return target.noun, target.expected
    return BUILT_IN[target]


def _right_type(target: Any, value: object) -> bool:  # noqa: ANN401 -- a type
    if target in (int, float):
        return isinstance(value, int | target) and not isinstance(value, bool)
    return isinstance(value, str) and get_origin(target) is None and issubclass(target, Scalar)


def _invalid_choice(choices: type[Enum], value: object) -> str:
    words = tuple(str(choice.value) for choice in choices)
    right = f"write {listed(map(quoted, words))}"
    if not isinstance(value, str):
        return f"{shown(value)} is {kind(value)}; {right}"
    meant = nearest(value, words)
    return f"{shown(value)} is not one of the choices; {right}" + (
        f"; did you mean {quoted(meant)}?" if meant else ""
    )


def _range(wanted: object) -> str:
    least = next(item.ge for item in constraints(wanted) if item.ge is not None)
    most = next((item.le for item in constraints(wanted) if item.le is not None), None)
    return f" of at least {least}" if most is None else f" from {least} to {most}"


def _such_as(wanted: object, default: object) -> str:
    examples = [example for item in constraints(wanted) for example in item.examples or ()]
    example = default if default or not examples else examples[0]
    match example:
        case [*items] if items:
            return f", such as [{', '.join(map(quoted, items))}]"
        case str() | int() | float() if example != "":
            return f", such as {shown(example)}"
        case _:
            return ""


@cache
def _homes() -> dict[str, str]:
    """Return the place of each key that only one table knows."""
    tables = {
        "at the top, before any table": RootTable,
        "in [apps.NAME]": AppTable,
        **{f"in [{key}]": table for key, table in _tables(RootTable)},
        **{f"in [apps.NAME.{key}]": table for key, table in _tables(AppTable)},
    }
    places = [(key, home) for home, table in tables.items() for key in keys(table)]
    count = Counter(key for key, _ in places)
    return {key: home for key, home in places if count[key] == 1}


def _tables(table: type[Struct]) -> Iterator[tuple[str, type[Struct]]]:
    """Yield the keys of a table that are tables or lists of tables, and those tables."""
    for key, field in keys(table).items():
        target = bare(field.type)
        item = bare(get_args(target)[0]) if get_origin(target) is tuple else target
        if isinstance(item, type) and issubclass(item, Struct):
            yield key, item
