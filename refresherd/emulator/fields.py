"""Fields of requests to the control API: types, meanings, and what is wrong with values."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

Type = Literal["string", "whole number", "number", "true or false", "object", "list of strings"]

LARGEST: Final = 10**15

TYPES: Final[Mapping[Type, type | tuple[type, ...]]] = {
    "string": str,
    "whole number": int,
    "number": (int, float),
    "object": dict,
}

ARTICLES: Final[Mapping[Type, str]] = {"true or false": "", "object": "an "}
"""The articles of these types, where it is not "a"."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request."""

    type: Type
    meaning: str
    example: object
    required: bool = False

    def description(self) -> dict[str, object]:
        """Return what the index says about the field."""
        required = {"required": True} if self.required else {}
        return {"type": self.type, **required, "meaning": self.meaning, "example": self.example}

    def accepts(self, value: object) -> bool:
        """Return whether a value is of the field's type."""
        if isinstance(value, bool) or self.type == "true or false":
            return isinstance(value, bool) and self.type == "true or false"
        if isinstance(value, int | float) and not abs(value) <= LARGEST:
            return False  # Python's decoder reads NaN as well
        if self.type == "list of strings":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        return isinstance(value, TYPES[self.type])


Fields = Mapping[str, Field]


def parse(text: str, known: Fields) -> dict[str, Any]:
    """Return the fields of a body. Raises ValueError with all that is wrong."""
    try:
        fields = json.loads(text or "{}")
        json.dumps(fields, ensure_ascii=False).encode()  # half of a pair of surrogates fails here
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}; {_write(known)}") from None
    if not isinstance(fields, dict):
        raise ValueError(  # noqa: TRY004 - an invalid value like any other
            f"the body is {_named(fields)}; {_write(known)}"
        )
    return checked(fields, known)


def parse_query(query: Mapping[str, str], known: Fields) -> dict[str, Any]:
    """Return the fields of a query, which are all text. Raises ValueError as `parse` does."""
    fields: dict[str, Any] = dict(query)
    for name, value in query.items():
        if name in known and known[name].type in ("whole number", "number"):
            try:
                fields[name] = json.loads(value)
            except ValueError:
                continue  # the check says what is wrong with the text
    return checked(fields, known)


def checked(fields: Mapping[str, Any], known: Fields) -> dict[str, Any]:
    """Return the fields that are not null. Raises ValueError with all that is wrong."""
    faults = []
    for name, value in fields.items():
        if name not in known:
            faults.append(f'"{name}": unknown field; {did_you_mean(name, known, "the fields")}')
        elif value is not None and not known[name].accepts(value):
            faults.append(f'"{name}": {_named(value)} is not right; write {_expected(known[name])}')
    for name, field in known.items():
        if field.required and fields.get(name) is None:
            faults.append(f'"{name}": missing; write {_expected(field)}')
    if faults:
        raise ValueError("\n".join(faults))
    return {name: value for name, value in fields.items() if value is not None}


def did_you_mean(word: str, known: Iterable[str], what: str) -> str:
    """Return the word that was probably meant, or else all known words."""
    names = list(known)
    if meant := get_close_matches(word, names, n=1):
        return f'did you mean "{meant[0]}"?'
    if not names:
        return f"{what}: none"
    *others, last = (f'"{name}"' for name in names)
    return f"{what} are {', '.join(others)} and {last}" if others else f"{what}: {last}"


def _expected(field: Field) -> str:
    article = ARTICLES.get(field.type, "a ")
    return f"{article}{field.type}, such as {json.dumps(field.example)}"


def _named(value: object) -> str:
    """Return a value as JSON writes it, if it is short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 - a line's worth


def _write(known: Fields) -> str:
    example = {name: field.example for name, field in list(known.items())[:1]}
    return f"write a JSON object, such as {json.dumps(example)}"
