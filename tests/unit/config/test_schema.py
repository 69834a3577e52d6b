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
    """Return whether an editor would find a text good."""
    return VALIDATOR.is_valid(tomllib.loads(text))


def leaves(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Return every key of a schema that holds no further keys, with its own schema."""
    found: list[tuple[str, dict[str, Any]]] = []
    for key, inner in schema["properties"].items():
        item = inner.get("items", inner)
        table = item if "properties" in item else item.get("additionalProperties")
        found += leaves(table, f"{path}{key}.") if table else [(f"{path}{key}", inner)]
    return found


def test_the_schema_is_one() -> None:
    """Of the draft that it claims."""
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described() -> None:
    """That is what an editor shows beside it."""
    assert [path for path, schema in leaves(SCHEMA) if not schema.get("description")] == []


def test_defaults_and_examples_are_good_values_themselves() -> None:
    """An editor offers them."""
    for path, schema in leaves(SCHEMA):
        defaults = [schema["default"]] if "default" in schema else []
        for value in (*schema.get("examples", ()), *defaults):
            assert Draft202012Validator(schema).is_valid(value), path


def test_defaults_are_told_where_they_apply() -> None:
    """Under an app, the default of a key of [dsm] or [refresh] is what is written there."""
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
def test_a_good_file_is_good_to_an_editor(good: str) -> None:
    """Else people switch the schema off."""
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
def test_a_slip_shows_in_an_editor(bad: str) -> None:
    """Before `check` says so."""
    assert not valid(bad)


def test_the_schema_is_plain_json() -> None:
    """It is printed as such, and no path of this machine is in it."""
    assert type(SCHEMA["properties"]["shutdown"]["default"]) is str
    assert str(Path.cwd()) not in str(SCHEMA)
