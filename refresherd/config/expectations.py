"""What each key wants, in plain words: "384 is a number; write the mode as an octal string"."""

from enum import Enum
from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta, Struct

from refresherd.config.lines import KeyPath
from refresherd.config.scalars import Scalar
from refresherd.config.wording import dotted, kind, listed, nearest, quoted, shown

BUILT_IN: dict[Any, tuple[str, str]] = {
    int: ("whole number", "a whole number"),
    float: ("number", "a number"),
}


def bare(annotated: object) -> Any:  # noqa: ANN401 -- a type, or typing's word for one
    """Return a field's type without its descriptions."""
    return get_args(annotated)[0] if get_origin(annotated) is Annotated else annotated


def metas(annotated: object) -> tuple[Meta, ...]:
    """Return a field's descriptions and constraints."""
    return get_args(annotated)[1:] if get_origin(annotated) is Annotated else ()


def complaint(wanted: object, value: object, path: KeyPath, default: object) -> str:
    """Return what is wrong with a value at a key, and what would be right.

    `wanted` is the field's type; its default, or else its example, shows how it is written.
    """
    target = bare(wanted)
    if isinstance(target, type) and issubclass(target, Enum):
        return _no_choice(target, value)
    noun, expected = _wanted(wanted, path)
    if not _same_kind(wanted, value):
        problem = f"{shown(value)} is {kind(value)}"
    elif target in (int, float):
        problem, expected = f"{shown(value)} is out of range", expected + _range(wanted)
    else:
        problem = f"{shown(value)} is no {noun}"
    return f"{problem}; write {expected}{_such_as(wanted, default)}"


def _wanted(wanted: object, path: KeyPath) -> tuple[str, str]:
    target = bare(wanted)
    if get_origin(target) is tuple:
        item = bare(get_args(target)[0])
        tables = isinstance(item, type) and issubclass(item, Struct)
        return "list", f"tables headed [[{dotted(path)}]]" if tables else "a list of strings"
    if issubclass(target, Struct):
        return "table", f"a table headed [{dotted(path)}]"
    if issubclass(target, Scalar):
        return target.noun, target.expected
    return BUILT_IN[target]


def _same_kind(wanted: object, value: object) -> bool:
    target = bare(wanted)
    if target is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if target is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str) and get_origin(target) is None and issubclass(target, Scalar)


def _no_choice(choices: type[Enum], value: object) -> str:
    words = tuple(str(choice.value) for choice in choices)
    right = f"write {listed(map(quoted, words))}"
    if not isinstance(value, str):
        return f"{shown(value)} is {kind(value)}; {right}"
    meant = nearest(value, words)
    return f"{shown(value)} is none of the choices; {right}" + (
        f"; did you mean {quoted(meant)}?" if meant else ""
    )


def _range(wanted: object) -> str:
    least = next(meta.ge for meta in metas(wanted) if meta.ge is not None)
    most = next((meta.le for meta in metas(wanted) if meta.le is not None), None)
    return f", at least {least}" + ("" if most is None else f" and at most {most}")


def _such_as(wanted: object, default: object) -> str:
    examples = [example for meta in metas(wanted) for example in meta.examples or ()]
    example = default if default or not examples else examples[0]
    match example:
        case [*items] if items:
            return f", such as [{', '.join(map(quoted, items))}]"
        case str() | int() | float() if example != "":
            return f", such as {shown(example)}"
        case _:
            return ""
