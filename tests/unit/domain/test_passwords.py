"""What is accepted as a password, and what is wrong with anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.passwords import password


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"sesame", "sesame"),
        (b"sesame\n", "sesame"),
        (b"sesame\r\n", "sesame"),
        (b" open  sesame \n", " open  sesame "),
        ("s\u00e9same \u2713".encode(), "s\u00e9same \u2713"),
        (b"Basic c2VzYW1l", "Basic c2VzYW1l"),
    ],
)
def test_everything_but_the_last_newline_is_the_password(content: bytes, expected: str) -> None:
    """Unlike a key's, a password's blanks count: who chose it may have put them there."""
    assert password(content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"  \n", "empty"),
        (b"one\ntwo", "more than one line"),
        (b"one\n\n", "more than one line"),
        (b"\xef\xbb\xbfsesame", "byte order mark"),
        ("sesame".encode("utf-16"), "UTF-16"),
        (b"ses\x00ame", "control characters"),
        (b"ses\tame", "control characters"),
        (b"ses\xffame", "not in UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: bytes, message: str) -> None:
    """DSM would count a wrong password, and the LDAP server may lock the account after a few."""
    with pytest.raises(ValueError, match=message):
        password(content)


@given(st.binary(max_size=60))
def test_a_fault_never_quotes_the_content(content: bytes) -> None:
    """Faults end up in logs."""
    try:
        found = password(content)
    except ValueError as error:
        words = [word for word in content.decode(errors="replace").split() if len(word) > 15]
        assert not any(word in str(error) for word in words)  # noqa: PT017  # one of two good ends
    else:
        assert found.isprintable()
        assert found.encode() == content.removesuffix(b"\n").removesuffix(b"\r")
