"""Command lines: what is understood, what is taught, and how what is wrong is refused."""

import pytest

from refresherd import __version__
from refresherd.cli import main
from refresherd.cli.commands import COMMANDS
from refresherd.cli.parser import parse

ASKING = ("token", "status", "wait", "refresh", "watch", "exec")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command line is told that is a usage fault."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 64
    out, err = capsys.readouterr()
    assert out == ""
    return err


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what a command line prints that only asks for words."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody looks for a command that the help doesn't name."""
    text = printed(capsys, "--help")
    for name, command in COMMANDS.items():
        assert f" {name} " in text
        assert command.summary.split(";")[0] in " ".join(text.split())
    assert "exit status: 0 done" in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A report of a fault begins with it."""
    assert printed(capsys, "--version") == f"refresherd {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its help says what it does, and shows an example or what its end means."""
    text = printed(capsys, name, "--help")
    assert text.startswith(f"usage: refresherd {name} ")
    assert COMMANDS[name].summary[1:] in " ".join(text.split())
    assert COMMANDS[name].epilog in text


@pytest.mark.parametrize("name", ASKING)
def test_a_command_that_asks_the_daemon_shows_an_example(name: str) -> None:
    """An example is what people copy."""
    assert f"refresherd {name} " in COMMANDS[name].epilog


def test_no_command_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that lost its arguments must not succeed."""
    assert refused(capsys) == "refresherd: which command?\nTry: refresherd --help\n"


def test_a_misspelt_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One key beside the right one is the usual fault."""
    assert 'there is no command "tokne"; did you mean "token"?' in refused(capsys, "tokne", "x")
    assert 'there is no command "frobnicate"\n' in refused(capsys, "frobnicate")


def test_an_option_before_the_command_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Other programs take them there."""
    message = refused(capsys, "--socket", "x", "token", "payments")
    assert "--socket is no option here; the command comes first" in message


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("token",), "required: APP"),
        (("token", "payments", "--format", "xml"), "invalid choice: 'xml'"),
        (("token", "payments", "--min", "3s"), "unrecognized arguments: --min 3s"),
        (("token", "../../metrics"), "is no name of an app"),
        (("wait", "--timeout", "soon"), '"soon" is no time'),
        (("exec", "payments"), "there is no program to run; write the program after --"),
        (("exec", "payments", "--"), "there is no program to run"),
        (("exec", "payments", "--", "", "x"), "there is no program to run"),
        (("exec", "payments", "env"), "env is no option here; write the program after --"),
        (("exec", "payments", "--on-refresh", "KILL", "--", "x"), '"KILL" is neither'),
    ],
)
def test_a_fault_is_told_in_a_line_with_a_pointer_to_help(
    words: tuple[str, ...], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A screen of usage hides the one word that matters."""
    line, pointer = refused(capsys, *words).splitlines()
    assert line.startswith(f"refresherd {words[0]}: ")
    assert wrong in line
    assert pointer == f"Try: refresherd {words[0]} --help"


def test_the_socket_is_found_without_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers of the usual daemon name nothing, those of another set a variable once."""
    monkeypatch.delenv("REFRESHERD_SOCKET", raising=False)
    for name in ASKING:
        words = {"exec": ("a", "--", "x"), "token": ("a",), "watch": ("a",)}.get(name, ())
        assert parse(name, words).socket == "/run/refresherd/api.sock"
        monkeypatch.setenv("REFRESHERD_SOCKET", "/run/other.sock")
        assert parse(name, words).socket == "/run/other.sock"
        assert parse(name, ("--socket", "mine", *words)).socket == "mine"
        monkeypatch.delenv("REFRESHERD_SOCKET")


def test_options_may_stand_between_apps() -> None:
    """Who adds another app to a line that works must not break it."""
    parsed = parse("wait", ("payments", "--timeout", "5s", "orders"))
    assert parsed.apps == ["payments", "orders"]
    assert parsed.timeout == 5.0


def test_a_programs_own_options_are_left_to_it() -> None:
    """Whatever follows the first -- is the program's, another -- included."""
    program = ("x", "--socket", "y", "--", "z")
    parsed = parse("exec", ("payments", "--on-refresh", "HUP", "--", *program))
    assert parsed.program == list(program)
    assert parsed.on_refresh == 1


def test_what_is_asked_of_a_token_is_told_from_what_is_usual() -> None:
    """Only who asks for a lifetime is told that there is no such token."""
    parsed = parse("token", ("payments",))
    assert (parsed.min_ttl, parsed.format, parsed.timeout) == (None, "raw", 10.0)
    assert parse("token", ("payments", "--min-ttl", "0s")).min_ttl == 0.0
