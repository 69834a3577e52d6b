"""The example that everybody starts from: complete, true to the schema, and good as it is."""

import re
import tomllib
from pathlib import Path
from typing import Any

from refresherd.config import json_schema
from support.configurations import Place

EXAMPLE = (Path(__file__).parents[2] / "config.example.toml").read_text()

SETTING = re.compile(r"^#(?=\[|[a-z_]+ = )", re.MULTILINE)
"""What is commented out without a space is a setting."""


def keys(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a table's keys with their schemas, without those that an app inherits."""
    inherited = {
        key
        for table in ("dsm", "refresh")
        for key in json_schema()["properties"][table]["properties"]
    }
    properties: dict[str, dict[str, Any]] = schema["properties"]
    own = "api_key_file" in properties
    return {key: inner for key, inner in properties.items() if not (own and key in inherited)}


def compare(schema: dict[str, Any], written: dict[str, Any], path: str = "") -> None:
    """Check that every key stands there with its default, or an example where that is none."""
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
            good = [*([inner["default"]] if "default" in inner else []), *inner.get("examples", [])]
            assert written[key] in good, f"{path}{key}: {written[key]!r} is none of {good}"


def test_every_key_stands_there_with_its_default() -> None:
    """It is the manual's list of keys, so none may be missing or have moved on."""
    compare(json_schema(), tomllib.loads(SETTING.sub("", EXAMPLE)))


def test_what_is_not_commented_out_is_at_its_default() -> None:
    """Apart from what an app cannot do without, nothing changes when a line is deleted."""
    written = tomllib.loads(EXAMPLE)
    schema = json_schema()["properties"]
    for table in ("refresh", "http", "log"):
        for key, value in written[table].items():
            assert value == schema[table]["properties"][key]["default"], f"{table}.{key}"


def test_every_setting_has_a_comment_above_it() -> None:
    """It is read as documentation. `owner` and `group` share one."""
    above = ""
    for line in EXAMPLE.splitlines():
        setting = re.match(r"#?(\[+[a-z.]+\]+|[a-z_]+ =)", line)
        if setting and not above:
            raise AssertionError(f"no comment above {line!r}")
        above = line


def test_it_loads_as_it_is_and_without_a_warning(tmp_path: Path) -> None:
    """Somebody copies it, puts a key beside it, and starts."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    configuration = Place(tmp_path).load(EXAMPLE.replace("/run/refresherd", str(runtime)))
    assert [app.name for app in configuration.apps] == ["payments"]
    assert [file.path for file in configuration.apps[0].files] == [runtime / "payments.token"]
    assert configuration.warnings == ()


def test_its_other_settings_are_good_as_well(tmp_path: Path) -> None:
    """Each alternative may be switched on, one credential at a time."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    place = Place(tmp_path)
    place.environ["STATE_DIRECTORY"] = str(runtime)
    place.environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    text = EXAMPLE.replace("/run/refresherd", str(runtime)).replace('"pass"', '"sh"')
    (tmp_path / "payments").write_bytes((tmp_path / "payments.key").read_bytes())
    place.write("bootstrap.token", "Zk3-x_9QbT" * 8)
    tables = re.sub(r"^#(?=\[|path|mode|owner|group|format|users|units|command|signal|pid_file|ti)",
                    "", text, flags=re.MULTILINE)  # fmt: skip
    for key in ("api_key_credential", "api_key_env", "api_key_command", "token_file"):
        chosen = tables.replace('api_key_file = "', '#api_key_file = "').replace(f"#{key}", key)
        assert place.faults(chosen) == ()
