"""Lines on standard output, be it a terminal of any kind or none."""

import io

import pytest

from refresherd.cli.screen import Screen
from refresherd.domain.status_lines import ASCII_BAR, BAR, Frame, Line, Piece

A, B, C, D = ((Piece(letter),) for letter in "abcd")
STATE: Line = (Piece("payments  "), Piece("fresh", "fresh"), Piece("  -"))


class Terminal(io.TextIOWrapper):
    """A stream into memory that claims to be a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, encoding, write_through=True)

    def isatty(self) -> bool:
        """Return True."""
        return True

    def written(self) -> str:
        """Return all that was written."""
        return self.content.getvalue().decode(self.encoding)


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give terminals 50 columns and 24 lines; return what changes that."""
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("LINES", "24")
    return monkeypatch


def test_a_stream_gets_one_picture_below_the_other() -> None:
    """In a pipe or a file there is nothing to redraw."""
    stream = io.StringIO()
    screen = Screen(stream, {})
    screen.draw([A, B])
    screen.draw([C])
    assert stream.getvalue() == "a\nb\n\nc\n\n"
    assert not screen.terminal
    assert screen.frame(others=1).width is None


@pytest.mark.usefixtures("size")
def test_a_terminal_is_redrawn_in_place() -> None:
    """The picture stands still and only its numbers change."""
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    for lines in ([A, B], [C], [D]):
        screen.draw(lines)
    assert stream.written() == "\x1b[Ja\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[Jd\n"


def test_another_width_starts_afresh(size: pytest.MonkeyPatch) -> None:
    """A narrower window wraps lines, and then nobody knows where the picture began."""
    stream = Terminal()
    screen = Screen(stream, {"TERM": "xterm"})
    screen.draw([A])
    size.setenv("COLUMNS", "40")
    screen.draw([B])
    screen.draw([C])
    assert stream.written() == "\x1b[Ja\n\x1b[H\x1b[2Jb\n\x1b[1F\x1b[Jc\n"


@pytest.mark.usefixtures("size")
def test_a_frame_is_what_the_terminal_has_room_for() -> None:
    """The last line is the cursor's; what is printed once may scroll."""
    screen = Screen(Terminal(), {})
    assert screen.frame() == Frame(50, None, BAR)
    assert screen.frame(others=2) == Frame(50, 21, BAR)


def test_a_picture_is_cut_to_the_terminals_height(size: pytest.MonkeyPatch) -> None:
    """Lines that have scrolled away cannot be redrawn."""
    size.setenv("LINES", "3")
    stream = Terminal()
    Screen(stream, {}).draw([A, B, C, D])
    assert stream.written() == "\x1b[Ja\nb\n"


@pytest.mark.usefixtures("size")
def test_only_text_with_a_style_is_coloured() -> None:
    """The state is what the eye looks for."""
    stream = Terminal()
    Screen(stream, {}).print([STATE, (Piece("novel", "of another version"),)])
    assert stream.written() == "payments  \x1b[32mfresh\x1b[0m  -\nnovel\n"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.usefixtures("size")
def test_colours_can_be_switched_off(environ: dict[str, str]) -> None:
    """As no-color.org says, and on terminals that have no colours."""
    stream = Terminal()
    Screen(stream, environ).print([STATE])
    assert stream.written() == "payments  fresh  -\n"
    assert Screen(Terminal(), environ).redraws == (environ.get("TERM") != "dumb")


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", BAR), ("latin-1", ASCII_BAR)])
@pytest.mark.usefixtures("size")
def test_the_bar_is_drawn_in_characters_that_the_terminal_has(encoding: str, bar: str) -> None:
    """Others would be printed as escapes, which are wider."""
    assert Screen(Terminal(encoding), {}).frame().bar == bar
