"""The example file that operators start from: complete, valid, and in line with the schema."""

import re
import tomllib
from pathlib import Path
from typing import Any

from refresherd.config import json_schema
from support.configurations import Place

EXAMPLE = (Path(__file__).parents[2] / "config.example.toml").read_text()

SETTING = re.compile(r"^#(?=\[|[a-z_]+ = )", re.MULTILINE)
"""A setting that is commented out has no space after the #."""


def keys(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas of a table's keys, without those that an app inherits."""
    inherited = {
        key
        for table in ("dsm", "refresh")
        for key in json_schema()["properties"][table]["properties"]
    }
    properties: dict[str, dict[str, Any]] = schema["properties"]
    own = "api_key_file" in properties
    return {key: inner for key, inner in properties.items() if not (own and key in inherited)}


def compare(schema: dict[str, Any], written: dict[str, Any], path: str = "") -> None:
    """Check that every key is in the example, with its default or an example of the schema."""
    for key, inner in keys(schema).items():
        assert key in written, f"{path}{key} is missing"
        tables = written[key] if isinstance(written[key], list) else [written[key]]
        table = inner.get("items", inner)
        if "properties" in table:
            merged = {name: value for item in tables for name, value in item.items()}
            compare(table, merged, f"{path}{key}.")
        elif isinstance(table.get("additionalProperties"), dict):
            compare(table["additionalProperties"], written[key]["payments"], f"{path}NAME.")
        else:
            allowed = [
                *([inner["default"]] if "default" in inner else []),
                *inner.get("examples", []),
            ]
            assert written[key] in allowed, f"{path}{key}: {written[key]!r} is not in {allowed}"


def test_the_example_has_every_key_with_its_default() -> None:
    """Operators look keys up in it, so none may be missing or outdated."""
    compare(json_schema(), tomllib.loads(SETTING.sub("", EXAMPLE)))


def test_active_settings_are_defaults() -> None:
    """Except for what an app needs, deleting a line changes nothing."""
    written = tomllib.loads(EXAMPLE)
    schema = json_schema()["properties"]
    for table in ("refresh", "http", "log"):
        for key, value in written[table].items():
            assert value == schema[table]["properties"][key]["default"], f"{table}.{key}"


def test_every_setting_has_a_comment_above_it() -> None:
    """The file is read as documentation. `owner` and `group` share a comment."""
    above = ""
    for line in EXAMPLE.splitlines():
        setting = re.match(r"#?(\[+[a-z.]+\]+|[a-z_]+ =)", line)
        if setting and not above:
            raise AssertionError(f"no comment above {line!r}")
        above = line


def test_the_example_loads_without_a_warning(tmp_path: Path) -> None:
    """An operator copies it, adds a key file, and starts the daemon."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    configuration = Place(tmp_path).load(EXAMPLE.replace("/run/refresherd", str(runtime)))
    assert [app.name for app in configuration.apps] == ["payments"]
    assert [file.path for file in configuration.apps[0].files] == [runtime / "payments.token"]
    assert configuration.warnings == ()


def test_the_settings_that_are_commented_out_are_valid(tmp_path: Path) -> None:
    """Each alternative can be used, one credential at a time."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    place = Place(tmp_path)
    place.environ["STATE_DIRECTORY"] = str(tmp_path / "state")
    place.environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    text = EXAMPLE.replace("/run/refresherd", str(runtime)).replace('"pass"', '"sh"')
    (tmp_path / "payments").write_bytes((tmp_path / "payments.key").read_bytes())
    place.write("bootstrap.token", "Zk3-x_9QbT" * 8)
    tables = re.sub(r"^#(?=\[|path|mode|owner|group|format|users|units|command|signal|pid_file|ti)",
                    "", text, flags=re.MULTILINE)  # fmt: skip
    for key in ("api_key_credential", "api_key_env", "api_key_command", "token_file"):
        chosen = tables.replace('api_key_file = "', '#api_key_file = "').replace(f"#{key}", key)
        assert place.faults(chosen) == ()
