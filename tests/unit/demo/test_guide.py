"""The configuration and the lines to copy are what a newcomer learns from."""

import shlex
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.demo.guide import Guide
from refresherd.demo.place import FORMATS, Place, configuration, duration, furnish

PLACE = Place(Path("/tmp/refresherd-demo-x"), "https://127.0.0.1:8443", 9749)  # noqa: S108 - a name
GUIDE = Guide(PLACE, ("app-1", "app-2"), 20.0)


def test_the_configuration_names_what_there_is() -> None:
    """The daemon and a curious reader must both find their way by it."""
    read = tomllib.loads(configuration(PLACE, ["app-1", "app-2"], 20.0))
    assert read["dsm"] == {"endpoint": "https://127.0.0.1:8443", "ca_file": "ca.pem"}
    assert read["http"] == {"listen": ["127.0.0.1:9749"]}
    assert list(read["apps"]) == ["app-1", "app-2"]
    files = {file["format"]: file["path"] for file in read["apps"]["app-2"]["files"]}
    assert files == {form: PLACE.file("app-2", form).name for form in FORMATS}


def test_the_refresh_settings_are_the_defaults() -> None:
    """What is shown is to be how it behaves in production, but for the grace."""
    read = tomllib.loads(configuration(PLACE, ["app-1"], 20.0))
    assert read["refresh"] == {"terminate_after": "5s"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.0, "5s"), (1.5, "1500ms"), (0.75, "750ms"), (0.0001, "1ms")]
)
def test_durations_are_as_a_configuration_has_them(seconds: float, text: str) -> None:
    """A number with a point is no duration to the daemon."""
    assert duration(seconds) == text


def test_api_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    """A newcomer copies what is seen here."""
    place = Place(tmp_path, "https://127.0.0.1:8443", 9749)
    furnish(place, {"app-1": "key"}, 20.0)
    key_file = tmp_path / "app-1.key"
    assert key_file.read_text() == "key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert "[apps.app-1]" in place.config.read_text()


def test_every_line_stands_for_itself() -> None:
    """Any one line must work when it alone is copied, so it names everything in full."""
    lines = GUIDE.text().splitlines()
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
    for command in (*GUIDE.consumers(), *GUIDE.troubles()):
        # A shell drops a backslash with the line end after it; shlex does not know that.
        folded = "\n".join(command.lines(width)).replace("\\\n", "")
        assert shlex.split(folded) == shlex.split("\n".join(command.lines(None)))


@given(width=st.integers(80, 300))
def test_folded_lines_fit(width: int) -> None:
    """On a terminal of the usual width no line of the guide may be torn by its edge."""
    assert max(len(line) for line in GUIDE.text(width).splitlines()) <= width


def test_paths_with_blanks_survive_the_shell() -> None:
    """A temporary directory may have any name."""
    place = Place(Path("/my tmp"), "https://127.0.0.1:8443", 9749)
    watch = Guide(place, ("app-1",), 20.0).consumers()[2]
    assert shlex.split(watch.words[0])[-1] == "/my tmp/app-1.token"
