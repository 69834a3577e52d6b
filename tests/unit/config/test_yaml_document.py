"""YAML as a web configuration needs it: what is read, on which line, and what is refused."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresherd.config.yaml_document import Node, parse
from refresherd.domain.errors import ConfigError

FILE = Path("/etc/refresherd/web.yml")

Plain = "str | None | list[Plain] | dict[str, Plain]"


def plain(node: Node) -> object:
    """Return a node's values without their lines."""
    if node.missing:
        return None
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, inner in node.value.items()}
    return [*map(plain, node.value)] if isinstance(node.value, list) else node.value


def fault(text: str) -> str:
    """Return why a text is refused, without the file's name."""
    with pytest.raises(ConfigError) as raised:
        parse(FILE, text)
    (line,) = raised.value.faults
    assert line.startswith(f"{FILE}:")
    return line.removeprefix(f"{FILE}:")


READ = {
    "": None,
    "# nothing\n": None,
    "---\na: b\n...\n": {"a": "b"},
    "a:\n  b: 0x10\n  c: 'true'\n": {"a": {"b": "0x10", "c": "true"}},
    "a: [x, 1]\nb:\n- x\n- ~\n": {"a": ["x", "1"], "b": ["x", None]},
    "a:\nb: null\nc: ''\n": {"a": None, "b": None, "c": ""},
    "a: >\n  one\n  two\n": {"a": "one two\n"},
    "$2y$: x\n": {"$2y$": "x"},
}


@pytest.mark.parametrize(("text", "expected"), READ.items(), ids=repr)
def test_texts_stay_texts(text: str, expected: object) -> None:
    """Other readers take a password such as `0x10` for a number."""
    assert plain(parse(FILE, text)) == expected


def test_a_value_has_the_line_of_its_key() -> None:
    """An operator looks for the key."""
    root = parse(FILE, "# a comment\na:\n\n  b: x\n  c:\n    - y\n").value
    assert isinstance(root, dict)
    inner = root["a"].value
    assert isinstance(inner, dict)
    assert (root["a"].line, inner["b"].line, inner["c"].line) == (2, 4, 5)


REFUSED = {
    "a: 1\nb: 2\na: 3\n": '3: "a" is already set on line 1; delete one of the two',
    "a: &x 1\n": "1: anchors and aliases are not accepted; write the value itself",
    "a: *x\n": "1: anchors and aliases are not accepted; write the value itself",
    "a: !!python/object:os.system x\n": "1: a tag (!) is not accepted; write the value alone",
    "a: !x y\n": "1: a tag (!) is not accepted; write the value alone",
    "a: 1\n---\nb: 2\n": "2: a second document; the file has to be one",
    "? [a]\n: b\n": "1: a key has to be a name",
    "a: [[[[[[[[x]]]]]]]]\n": "1: too many levels; no key is so deep",
    "a: b: c\n": "1: invalid YAML: mapping values are not allowed here",
    "a:\n\tb: 1\n": "2: invalid YAML: found character '\\t' that cannot start any token",
    "a: 'x\n": "2: invalid YAML: found unexpected end of stream",
    "a: 1\nb: \x01\n": "2: a control character; delete it",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=repr)
def test_what_has_no_place_in_a_configuration_is_refused(text: str, expected: str) -> None:
    """Each fault has its line."""
    assert fault(text) == expected


LEVELS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 9))

BOMBS = {
    "a billion laughs": f"l0: &l0 lol\n{LEVELS}",
    "brackets": "[" * 65000,
    "braces": "{" * 65000,
    "dashes": "- " * 32000,
    "question marks": "? " * 32000,
    "colons": ": " * 32000,
    "an endless key": "a" * 65000,
    "many keys": "".join(f"k{n}: 1\n" for n in range(8000)),
    "many documents": "---\n" * 16000,
    "many anchors": "&a " * 20000,
    "many tags": "!a " * 20000,
    "many quotes": "'" * 65000,
    "many commas": "[" + "," * 65000,
    "flow keys": "{" + "a, " * 20000,
    "merges": "<<: {<<: {<<: {a: b}}}\n" * 2000,
    "directives": "%YAML 1.1\n" * 6000,
    "a deep block": "".join(" " * n + "a:\n" for n in range(350)),
    "a folded text": "a: >\n" + " \n" * 30000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_no_more_time_than_its_size_needs(text: str) -> None:
    """64 KiB is the most that is read; the processor's time is what counts on a busy machine."""
    began = time.process_time()
    try:
        parse(FILE, text[: 64 * 1024])
    except ConfigError as error:
        assert error.faults  # noqa: PT017  # some of them are valid
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    [*"aB0 :-,?&*!|>%@`'\"#[]{}\n\t\\\x00\x85\ufeff~", "a:", "- ", "\n  ", "<<: ", "---\n", "...\n"]
)


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=60))
@example("a: \ud800")
@example("\ufeffa: 1")
@example('a: "\\ud800"')
@example('a: "\\U00110000"')
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    """An operator's typing error never ends in a traceback."""
    try:
        parse(FILE, text)
    except ConfigError as error:
        (line,) = error.faults  # some of them are valid
        assert line.removeprefix(f"{FILE}:").partition(":")[0].isdecimal()
