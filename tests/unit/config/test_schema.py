"""The JSON Schema, as editors use it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from refresherd.config import json_schema
from support.configurations import APP, DSM

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def valid(text: str) -> bool:
    """Return whether an editor would accept a text."""
    return VALIDATOR.is_valid(tomllib.loads(text))


def leaves(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return the path and the schema of every key that is not a table."""
    found: list[tuple[str, dict[str, Any]]] = []
    for key, inner in schema["properties"].items():
        item = inner.get("items", inner)
        table = item if "properties" in item else item.get("additionalProperties")
        found += leaves(table, f"{path}{key}.") if table else [(f"{path}{key}", inner)]
    return found


def test_the_schema_is_valid() -> None:
    """It conforms to the draft that it declares."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_has_a_description() -> None:
    """Editors show it, and the reference is generated from it."""
    assert [path for path, schema in leaves(SCHEMA) if not schema.get("description")] == []


def test_defaults_and_examples_are_valid() -> None:
    """Editors offer them."""
    for path, schema in leaves(SCHEMA):
        defaults = [schema["default"]] if "default" in schema else []
        for value in (*schema.get("examples", ()), *defaults):
            assert Draft202012Validator(schema).is_valid(value), path


def test_inherited_keys_have_no_default_under_an_app() -> None:
    """Their default is what [dsm] or [refresh] sets."""
    properties = SCHEMA["properties"]
    assert properties["refresh"]["properties"]["terminate_after"]["default"] == "60s"
    assert properties["http"]["properties"]["listen"]["default"] == ["127.0.0.1:9749"]
    app = properties["apps"]["additionalProperties"]["properties"]
    assert "default" not in app["terminate_after"]
    assert app["files"]["items"]["properties"]["mode"]["default"] == "0600"
    assert app["files"]["items"]["required"] == ["path"]


@pytest.mark.parametrize(
    "good",
    [
        f"{DSM}{APP}",
        f"{DSM}timeout = '1m30s'\n{APP}at = 0.6\n[[apps.payments.files]]\npath = 'a'\n",
        f"refresh.terminate_after = 'never'\n{DSM}{APP}[apps.payments.access]\nusers = ['0']\n",
    ],
)
def test_valid_files_match_the_schema(good: str) -> None:
    """People turn off a schema that is wrong."""
    assert valid(good)


@pytest.mark.parametrize(
    "bad",
    [
        DSM,
        f"bogus = 1\n{DSM}{APP}",
        f"{DSM}timeout = 20\n{APP}",
        f"{DSM}timeout = '20'\n{APP}",
        f"refresh.at = 1.5\n{DSM}{APP}",
        f"log.level = 'loud'\n{DSM}{APP}",
        f"{DSM}{APP}attt = 1\n",
        f"{DSM}{APP}[[apps.payments.files]]\nmode = '0600'\n",
        f"{DSM}{APP}[[apps.payments.files]]\npath = 'a'\nmode = 384\n",
        f"{DSM}{APP.replace('payments', '-x')}",
    ],
)
def test_mistakes_do_not_match_the_schema(bad: str) -> None:
    """An editor shows them before `check` does."""
    assert not valid(bad)


def test_the_schema_is_plain_json() -> None:
    """It is printed as JSON, and holds no path of this machine."""
    assert type(SCHEMA["properties"]["shutdown"]["default"]) is str
    assert str(Path.cwd()) not in str(SCHEMA)
