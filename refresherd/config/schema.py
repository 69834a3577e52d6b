"""The configuration's JSON Schema, for editors and for the reference documentation."""

import json
from enum import Enum
from inspect import getdoc
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from refresherd.config.app_settings import APP_NAME, AppTable
from refresherd.config.scalars import Scalar
from refresherd.config.settings import (
    DsmTable,
    RefreshTable,
    RootTable,
    bare,
    description,
    keys,
    meta,
)

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


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
    whole = {"$schema": DIALECT, "title": "refresherd's configuration", **schema}
    # Defaults are instances of our types; a round trip makes them plain strings.
    plain: Schema = json.loads(json.dumps(whole | {"required": ["apps"]}))
    return plain


def _table(table: type[Struct]) -> Schema:
    required = [key for key, field in keys(table).items() if field.required]
    return {
        "description": " ".join((getdoc(table) or "").split()),
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _key(field.type, field.default) for key, field in keys(table).items()},
        **({"required": required} if required else {}),
    }


def _key(annotated: object, default: object) -> Schema:
    schema = _value(annotated)
    if meaning := description(annotated):
        schema["description"] = meaning
    if examples := meta(annotated).examples:
        schema["examples"] = examples
    if default is not msgspec.NODEFAULT and not isinstance(default, Struct):
        schema["default"] = default
    return schema


def _value(annotated: object) -> Schema:
    target = bare(annotated)
    if get_origin(target) is tuple:
        items = _value(get_args(target)[0])
        described = {key: items[key] for key in ("description",) if key in items}
        return {"type": "array", "items": items, **described}
    if issubclass(target, Struct):
        return _table(target)
    if issubclass(target, Enum):
        return {"type": "string", "enum": [choice.value for choice in target]}
    if issubclass(target, Scalar):
        return {"type": "string", "title": target.noun, "pattern": f"^({target.pattern})$"}
    return msgspec.json.schema(annotated)
