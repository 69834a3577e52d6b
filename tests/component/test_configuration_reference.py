"""The configuration reference in the documentation, which is generated from the JSON Schema."""

from refresherd.config import json_schema
from refresherd.daemon.reload import RESTART_KEYS
from support.configuration_reference import COMMAND, REFERENCE, render


def test_the_reference_is_what_the_schema_says() -> None:
    """A key that is added or described anew must not be missing from the documentation."""
    current = REFERENCE.read_text(encoding="utf-8") if REFERENCE.exists() else ""
    assert current == render(json_schema()), f"docs/configuration.md is outdated; run: {COMMAND}"


def test_keys_that_need_a_restart_are_described_as_such() -> None:
    """The operator would otherwise wait for a reload to apply them."""
    properties = json_schema()["properties"]
    described = {key for key, inner in properties.items() if "restart." in inner["description"]}
    assert described == {key.partition(".")[0] for key in RESTART_KEYS}
