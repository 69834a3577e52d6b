"""How a command ends: its exit status, and a line if something went wrong."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from refresherd.cli import main, schema
from refresherd.cli.errors import CommandError, NotPermitted
from refresherd.domain.errors import ConfigError, RefresherdError

Ending = Callable[[BaseException], int]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Return a function that runs main with a command that raises an error."""

    def end(error: BaseException) -> int:
        def execute(_: argparse.Namespace) -> int:
            raise error

        monkeypatch.setattr(schema, "execute", execute)
        return main(["schema"])

    return end


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError(("f:1: a: b", "f:2: c: d")), 78, "f:1: a: b\nf:2: c: d\n"),
        (CommandError("nothing answers"), 69, "refresherd schema: nothing answers\n"),
        (NotPermitted("not yours"), 77, "refresherd schema: not yours\n"),
        (RefresherdError("cannot listen"), 69, "refresherd schema: cannot listen\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_that_an_operator_can_fix_is_a_line(
    error: BaseException,
    status: int,
    line: str,
    ending: Ending,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit status says what to do, and the line says why."""
    assert ending(error) == status
    assert capsys.readouterr() == ("", line)


def test_a_bug_is_not_hidden(ending: Ending) -> None:
    """It needs its traceback, and Python's exit status 1."""
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


def test_a_closed_pipe_is_not_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`refresherd schema | head -1` ends quietly, and so does Python's flush at exit."""
    reading, writing = os.pipe()
    os.close(reading)
    with io.TextIOWrapper(os.fdopen(writing, "wb")) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["schema"]) == 0
    assert capsys.readouterr().err == ""


def test_arguments_come_from_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The console script calls main without any."""
    config = tmp_path / "none.toml"
    monkeypatch.setattr(sys, "argv", ["refresherd", "check", "--config", str(config)])
    assert main() == 78
    assert str(config) in capsys.readouterr().err
