"""What to tell an operator about an invalid value or an unknown key."""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import Struct

from refresherd.config.app_settings import AppTable
from refresherd.config.findings import (
    KeyPath,
    describe_value,
    dotted,
    listed,
    nearest,
    quoted,
)
from refresherd.config.scalars import Scalar
from refresherd.config.settings import RootTable, bare, keys, meta
from refresherd.domain.redaction import holds_secret

NUMBERS: Mapping[type, str] = {int: "a whole number", float: "a number"}

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
    target, limits = bare(wanted), meta(wanted)
    text, kind = describe_value(value)
    problem = f"{text} is {kind}"
    if get_origin(target) is tuple:
        tables = issubclass(bare(get_args(target)[0]), Struct)
        expected = f"tables headed [[{dotted(path)}]]" if tables else "a list of strings"
    elif issubclass(target, Enum):
        choices = tuple(str(choice.value) for choice in target)
        if not isinstance(value, str):
            return f"{problem}; write {listed(map(quoted, choices))}"
        meant = nearest(value, choices)
        guess = f"; did you mean {quoted(meant)}?" if meant else ""
        return f"{text} is not one of the choices; write {listed(map(quoted, choices))}{guess}"
    elif issubclass(target, Struct):
        expected = f"a table headed [{dotted(path)}]"
    elif issubclass(target, Scalar):
        expected = target.expected
        if isinstance(value, str):
            problem = f"{text} is not a valid {target.noun}"
    else:
        expected = NUMBERS[target]
        if isinstance(value, int | target) and not isinstance(value, bool):
            problem = f"{text} is out of range"
            upper = "" if limits.le is None else f" to {limits.le}"
            expected += f" from {limits.ge}{upper}" if upper else f" of at least {limits.ge}"
    example: Any = default or next(iter(limits.examples or ()), default)
    match example:
        case [*items] if items:
            expected += f", such as [{', '.join(map(quoted, items))}]"
        case str() | int() | float() if example != "":
            expected += f", such as {describe_value(example)[0]}"
    return f"{problem}; write {expected}"


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
