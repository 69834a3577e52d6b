"""Command lines: what is accepted, what the help says, and how a command ends."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd import __version__
from refresherd.cli import schema
from refresherd.cli.command_line import COMMANDS, load, main, parse
from refresherd.cli.errors import CommandError, NotPermitted
from refresherd.domain.errors import ConfigError, RefresherdError

Ending = Callable[[BaseException], int]

CLIENTS = ("token", "status", "wait", "refresh", "watch", "exec")
"""The commands that talk to the daemon."""


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a terminal so narrow that it would show in the help, and no colours (Python 3.14's)."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("PYTHON_COLORS", raising=False)


def rejected(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the error for a command line that must be a usage error."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 64
    out, err = capsys.readouterr()
    assert out == ""
    return err


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command line that asks for help or the version prints."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody looks for a command that the help does not mention."""
    lines = printed(capsys, "--help").splitlines()
    for name, summary in COMMANDS.items():
        assert f"  {name:<10}{summary}" in lines
    assert "  0   done" in lines


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every bug report begins with it, and people try both spellings."""
    assert main([word]) == 0
    assert capsys.readouterr() == (f"refresherd {__version__}\n", "")


@pytest.mark.parametrize("name", [*COMMANDS, None])
def test_help_as_a_command(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Git and systemctl have it, so operators try it first."""
    words = () if name is None else (name,)
    assert printed(capsys, "help", *words) == printed(capsys, *words, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what the command does and what it is for, and shows an example to copy."""
    text = printed(capsys, name, "--help")
    command = load(name)
    assert text.startswith(f"usage: refresherd {name} ")
    assert f"{COMMANDS[name][1:]}.\n\n{command.DESCRIPTION}\n" in text
    assert text.endswith(f"\n\n{command.EPILOG}\n")
    assert f"  refresherd {name}" in command.EPILOG


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
def test_help_is_made_for_80_columns(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the terminal's width, the help is the same, and fits the usual one."""
    lengths = [len(line) for line in printed(capsys, *words, "--help").splitlines()]
    assert 60 < max(lengths) <= 80


def test_missing_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that lost its arguments must not succeed."""
    assert rejected(capsys) == "refresherd: which command?\nTry: refresherd --help\n"


def test_misspelt_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The usual typing error is one letter, so the nearest command is suggested."""
    assert 'there is no command "tokne"; did you mean "token"?' in rejected(capsys, "tokne", "x")
    assert 'there is no command "frobnicate"\n' in rejected(capsys, "frobnicate")
    assert 'there is no command "tokne"; did you mean "token"?' in rejected(capsys, "help", "tokne")
    assert 'there is no command "a.toml"; write refresherd run --config a.toml' in rejected(
        capsys, "a.toml"
    )


def test_option_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Other programs accept options there, so the error says where they belong."""
    message = rejected(capsys, "--socket", "x", "token", "payments")
    assert "unknown option --socket before the command; a command's options follow it" in message


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("token",), "token: APP is missing; `refresherd status` lists the apps"),
        (
            ("token", "payments", "--format", "RAW"),
            'token: --format: "RAW" is not one of the choices; write raw, header, json, env, sd',
        ),
        (("token", "a", "--min", "3s"), "token: there is no option --min; did you mean --min-ttl?"),
        (("token", "a", "b"), 'token: unexpected argument "b"; refresherd token takes only APP'),
        (("token", "a", "--timeout"), "token: --timeout needs a value"),
        (("refresh", "--all=yes"), "refresh: --all takes no value"),
        (
            ("check", "a.toml"),
            'check: unexpected argument "a.toml"; write refresherd check --config a.toml',
        ),
        (("run", "a.toml"), "write refresherd run --config a.toml"),
        (("once", "a.toml"), "write refresherd once --config a.toml"),
        (("run", "--conifg=a"), "run: there is no option --conifg; did you mean --config?"),
        (("schema", "x"), 'unexpected argument "x"; refresherd schema takes no arguments'),
        (("version", "--x"), "version: there is no option --x; the options are --help"),
        (("exec", "a", "--on-refesh", "HUP", "--", "x"), "did you mean --on-refresh?"),
        (("token", "../../metrics"), "is not a valid app name"),
        (("wait", "--timeout", "soon"), '"soon" is not a valid duration'),
        (("exec", "payments"), "there is no program to run; write the program after --"),
        (("exec", "payments", "--"), "there is no program to run"),
        (("exec", "payments", "--", "", "x"), "there is no program to run"),
        (("exec", "payments", "env"), "unknown argument env; write the program after --"),
        (("exec", "payments", "--on-refresh", "KILL", "--", "x"), '"KILL" is neither'),
    ],
)
def test_usage_error_is_one_line_and_a_pointer_to_the_help(
    words: tuple[str, ...], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A screen of usage would hide the one word that matters."""
    line, pointer = rejected(capsys, *words).splitlines()
    assert line.startswith(f"refresherd {words[0]}: ")
    assert cause in line
    assert pointer == f"Try: refresherd {words[0]} --help"


def test_a_value_of_an_unknown_option_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be a secret, and units log what their commands print."""
    assert "hunter2" not in rejected(capsys, "token", "payments", "--api-key=hunter2")
    assert "hunter2" not in rejected(capsys, "--api-key=hunter2", "token")


@given(st.lists(st.sampled_from([*COMMANDS, "-h", "--", "--config", "a", "-", "-1", "--x=", ""])))
def test_any_words_are_a_command_or_a_usage_error(words: list[str]) -> None:
    """A traceback would look like a bug of refresherd. Only commands that just print are run."""
    if words[:1] and words[0] in COMMANDS and words[0] not in {"help", "version", "schema"}:
        words = [words[0], "--no-such-option", *words[1:]]  # before a "--", after which it is none
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            status: object = main(words)
        except SystemExit as end:
            status = end.code
    assert status in (0, 64)


def test_default_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of the usual daemon give no path; those of another set a variable once."""
    monkeypatch.delenv("REFRESHERD_SOCKET", raising=False)
    for name in CLIENTS:
        words = {"exec": ("a", "--", "x"), "token": ("a",), "watch": ("a",)}.get(name, ())
        assert parse(name, words).socket == "/run/refresherd/api.sock"
        monkeypatch.setenv("REFRESHERD_SOCKET", "/run/other.sock")
        assert parse(name, words).socket == "/run/other.sock"
        assert parse(name, ("--socket", "mine", *words)).socket == "mine"
        monkeypatch.delenv("REFRESHERD_SOCKET")


def test_options_may_stand_between_apps() -> None:
    """Appending another app to a line that works must not break it."""
    parsed = parse("wait", ("payments", "--timeout", "5s", "orders"))
    assert parsed.apps == ["payments", "orders"]
    assert parsed.timeout == 5.0


def test_exec_leaves_the_programs_options_alone() -> None:
    """Whatever follows the first -- belongs to the program, even another --."""
    program = ("x", "--socket", "y", "--", "z")
    parsed = parse("exec", ("payments", "--on-refresh", "HUP", "--", *program))
    assert parsed.program == list(program)
    assert parsed.on_refresh == 1


def test_token_distinguishes_a_requested_lifetime_from_the_usual_one() -> None:
    """Only an explicit --min-ttl may fail because no token lives that long."""
    parsed = parse("token", ("payments",))
    assert (parsed.min_ttl, parsed.format, parsed.timeout) == (None, "raw", 10.0)
    assert parse("token", ("payments", "--min-ttl", "0s")).min_ttl == 0.0


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
        (
            RuntimeError("can't start new thread"),
            69,
            (
                "refresherd schema: this process may have no more threads; raise the limit "
                "(in a unit: TasksMax=, elsewhere: ulimit -u)\n"
            ),
        ),
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
    for error in (ZeroDivisionError(), RuntimeError("bug")):
        with pytest.raises(type(error)):
            ending(error)


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
