"""The configuration's JSON Schema, for editors, from the tables themselves."""

import json
from enum import Enum
from typing import Any, cast, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from refresherd.config.expectations import bare, metas
from refresherd.config.scalars import Scalar
from refresherd.config.tables import APP_NAME, AppTable, DsmTable, RefreshTable, RootTable

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> Schema:
    """Return the JSON Schema, draft 2020-12, of configuration files."""
    schema = _table(RootTable)
    schema["properties"]["apps"] = {
        "description": "The apps, each by its name.",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{APP_NAME}$"},
        "additionalProperties": _app(),
    }
    plain: Schema = json.loads(json.dumps(schema))
    return {
        "$schema": DIALECT,
        "title": "refresherd's configuration",
        **plain,
        "required": ["apps"],
    }


def _app() -> Schema:
    schema = _table(AppTable)
    for defaults in (DsmTable, RefreshTable):
        for key, inherited in _table(defaults)["properties"].items():
            # Under an app the default is what [dsm] and [refresh] say.
            schema["properties"][key] = {
                name: value for name, value in inherited.items() if name != "default"
            }
    return schema


def _table(table: type[Struct]) -> Schema:
    required = [field.name for field in fields(table) if field.required]
    return {
        "description": table.__doc__,
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: _property(field.type, field.default) for field in fields(table)},
        **({"required": required} if required else {}),
    }


def _property(wanted: object, default: object) -> Schema:
    schema = _value(wanted)
    if default is not msgspec.NODEFAULT and not isinstance(default, Struct):
        schema["default"] = default
    return schema


def _value(wanted: object) -> Schema:
    target = bare(wanted)
    message = {
        name: value
        for meta in metas(wanted)
        for name, value in (("description", meta.description), ("examples", meta.examples))
        if value is not None
    }
    if get_origin(target) is tuple:
        return {"type": "array", "items": _value(get_args(target)[0]), **message}
    if issubclass(target, Struct):
        return {**_table(target), **message}
    if issubclass(target, Enum):
        return {"type": "string", "enum": [choice.value for choice in target], **message}
    return msgspec.json.schema(wanted, schema_hook=_scalar)


def _scalar(kind: type) -> Schema:
    pattern = cast("type[Scalar]", kind).pattern  # no other types of our own are in the tables
    return {"type": "string", "pattern": f"^({pattern})$"}
