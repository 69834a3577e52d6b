"""The configuration and the commands to copy are what a newcomer learns from."""

import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.demo.workspace import FORMATS, Workspace, duration

DIRECTORY = Path("/tmp/refresherd-demo-x")  # noqa: S108 - only a name
WORKSPACE = Workspace(
    DIRECTORY, "https://127.0.0.1:8443", 9749, {"app-1": "key-1", "app-2": "key-2"}, 20.0
)


def configuration(directory: Path) -> dict[str, Any]:
    """Return the configuration that is written into the directory."""
    replace(WORKSPACE, directory=directory).write()
    return tomllib.loads((directory / "config.toml").read_text())


def test_the_configuration_names_everything(tmp_path: Path) -> None:
    """The daemon and a curious reader must both find their way by it."""
    read = configuration(tmp_path)
    assert read["dsm"] == {"endpoint": "https://127.0.0.1:8443", "ca_file": "ca.pem"}
    assert read["http"] == {"listen": ["127.0.0.1:9749"]}
    assert read["api"] == {"path": "api.sock"}
    assert list(read["apps"]) == ["app-1", "app-2"]
    files = {file["format"]: file["path"] for file in read["apps"]["app-2"]["files"]}
    assert files == {form: f"app-2.{suffix}" for form, suffix in FORMATS.items()}


def test_the_refresh_settings_are_the_defaults(tmp_path: Path) -> None:
    """All but the grace period is to behave as it does in production."""
    assert configuration(tmp_path)["refresh"] == {"terminate_after": "5s"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.0, "5s"), (1.5, "1500ms"), (0.75, "750ms"), (0.0001, "1ms")]
)
def test_durations_are_as_a_configuration_has_them(seconds: float, text: str) -> None:
    """The daemon accepts no number with a decimal point."""
    assert duration(seconds) == text


def test_api_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """A newcomer copies what is seen here."""
    assert list(configuration(tmp_path)["apps"]) == ["app-1", "app-2"]
    key_file = tmp_path / "app-1.key"
    assert key_file.read_text() == "key-1"
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_every_command_is_complete() -> None:
    """Any one command must work when it alone is copied, so it names everything in full."""
    lines = WORKSPACE.guide().splitlines()
    assert (
        "  curl --cacert /tmp/refresherd-demo-x/ca.pem "
        "-H @/tmp/refresherd-demo-x/app-1.header https://127.0.0.1:8443/crypto/v1/keys"
    ) in lines
    assert "  watch -n1 cat /tmp/refresherd-demo-x/app-1.token" in lines
    assert "  curl -s http://127.0.0.1:9749/metrics | grep 'app=\"app-1\"'" in lines
    assert sum("sdkms-cli --ssl-ca-cert" in line for line in lines) == 1
    assert sum("/control/" in line for line in lines) == 2


@given(width=st.integers(20, 300))
def test_folding_changes_nothing_for_the_shell(width: int) -> None:
    """A folded command that is pasted must run as the unfolded one."""
    # A shell drops a backslash with the line end after it; shlex does not know that.
    folded = WORKSPACE.guide(width).replace("\\\n", "")
    for one, other in zip(folded.splitlines(), WORKSPACE.guide().splitlines(), strict=True):
        if other.startswith("  "):
            assert shlex.split(one) == shlex.split(other)
        else:
            assert one == other


@given(width=st.integers(80, 300))
def test_folded_lines_fit(width: int) -> None:
    """On a terminal of the usual width no line of the guide may be broken by its edge."""
    assert max(len(line) for line in WORKSPACE.guide(width).splitlines()) <= width


def test_the_status_page_can_be_opened() -> None:
    """What is tried on the terminal can be seen there, in the same words."""
    assert "status page:   http://127.0.0.1:9749/" in WORKSPACE.guide().splitlines()


def test_paths_with_blanks_survive_the_shell() -> None:
    """A temporary directory may have any name."""
    guide = replace(WORKSPACE, directory=Path("/my tmp")).guide()
    client, watch = (
        shlex.split(line) for line in guide.splitlines() if "watch" in line or "SDKMS" in line
    )
    assert watch[-1] == "/my tmp/app-1.token"
    assert client[0] == "SDKMS_CLI_TOKEN_FILE=/my tmp/app-1.sdkms-cli"
