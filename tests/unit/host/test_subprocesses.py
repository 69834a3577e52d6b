"""A program's last lines are joined into one, without half a secret in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresherd.host.subprocesses import MAX_LINE, MAX_TAIL, Tail

TOKEN = "hunter2-" * 11
SPACES = st.text(" \n\t\r\x07\x1b\x00", min_size=1, max_size=3)
WORDS = st.sampled_from([TOKEN, "error:", "x" * 150, "ü" * 40])


def tail(*pieces: bytes) -> Tail:
    """Return the tail of what was printed."""
    made = Tail()
    for piece in pieces:
        assert made.take(piece)
    return made


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b"", ""),
        (b"one\n", "one"),
        (b"one\n\n \ntwo\n\nthree\n", "two; three"),
        (b"bell \a and \xff\n", "bell and \N{REPLACEMENT CHARACTER}"),
        (b"a" * 300, "…"),
        (b"error: " + b"a" * 300 + b" more", "error: …"),
    ],
)
def test_the_last_lines_are_joined_into_one(printed: bytes, message: str) -> None:
    """A log line is one line, and no screen's cursor is moved by it."""
    assert tail(printed).lines(2) == message


@pytest.mark.parametrize(
    ("status", "message"),
    [(3, "exit status 3"), (-15, "killed by signal 15"), (300, "exit status 300")],
)
def test_a_failure_is_described_with_and_without_output(status: int, message: str) -> None:
    """Some programs fail in silence."""
    assert tail().complaint(status) == message
    assert tail(b"first\nlast\n").complaint(status) == f"{message}: last"


@settings(max_examples=50)
@given(st.lists(st.tuples(WORDS, SPACES)), st.integers(0, 2 * len(TOKEN)))
def test_no_word_is_cut_short(words: list[tuple[str, str]], missing: int) -> None:
    """The log recognises a secret by its length: the rest of one would be written out."""
    filler = b"x " * MAX_TAIL
    printed = "".join(word + space for word, space in words).encode()
    whole = tail(printed).lines(3)
    cut = tail(filler, printed, b" " + TOKEN.encode() * 2, b"\n" * (MAX_TAIL - missing)).lines(3)
    for message in (whole, cut):
        assert all(len(line) <= MAX_LINE for line in message.split("; "))
        assert set(message.replace(";", "").split()) <= {*(word for word, _ in words), "…", "x"}
