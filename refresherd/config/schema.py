"""The configuration's JSON Schema, for editors and for the reference documentation."""

import json
from enum import Enum
from inspect import getdoc
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from refresherd.config.app_settings import APP_NAME, AppTable
from refresherd.config.scalars import Scalar
from refresherd.config.settings import DsmTable, RefreshTable, RootTable, keys, parts

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Return the JSON Schema, draft 2020-12, of configuration files."""
    schema, app = _table(RootTable), _table(AppTable)
    for table in (DsmTable, RefreshTable):
        for key, inherited in _table(table)["properties"].items():
            # An app's default is what [dsm] or [refresh] says.
            inherited.pop("default", None)
            app["properties"][key] = inherited
    schema["properties"]["apps"] = {
        "description": "The apps of DSM whose sessions are kept alive, each by a name.",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{APP_NAME}$"},
        "additionalProperties": app,
    }
    # Defaults are instances of our types; a round trip makes them plain strings.
    plain: Schema = json.loads(json.dumps(schema))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "refresherd's configuration",
        **plain,
        "required": ["apps"],
    }


def _table(table: type[Struct]) -> Schema:
    schema: Schema = {
        "description": " ".join((getdoc(table) or "").split()),
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    for key, field in keys(table).items():
        schema["properties"][key] = value = _value(field.type)
        if field.required:
            schema.setdefault("required", []).append(key)
        elif not isinstance(field.default, Struct):
            value["default"] = field.default
    return schema


def _value(annotated: object) -> Schema:
    target, limits, meaning = parts(annotated)
    if get_origin(target) is tuple:
        items = _value(get_args(target)[0])
        meaning = meaning or items.get("description", "")
        schema = {"type": "array", "items": items}
    elif issubclass(target, Struct):
        schema = _table(target)
    elif issubclass(target, Enum):
        schema = {"type": "string", "enum": [choice.value for choice in target]}
    elif issubclass(target, Scalar):
        schema = {"type": "string", "title": target.noun, "pattern": f"^({target.pattern})$"}
    else:
        schema = msgspec.json.schema(annotated)
    if meaning:
        schema["description"] = meaning
    if limits.examples:
        schema["examples"] = limits.examples
    return schema
