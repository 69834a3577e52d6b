"""The kernel's answer about a TCP socket, read without trust: what is not ours is nobody's."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.tcp_peers import (
    ENDS,
    FOUND_HEAD,
    FOUND_TAIL,
    HEADER,
    SOCK_DIAG_BY_FAMILY,
    End,
    answers,
    end,
    owner_in,
    question,
)

OURS = End(socket.inet_aton("127.0.0.1"), 9749)
THEIRS = End(socket.inet_aton("127.0.0.1"), 40000)
ESTABLISHED, SYN_SENT, FIN_WAIT2, TIME_WAIT, LISTEN = 1, 2, 5, 6, 10
ERROR = 2
"""NLMSG_ERROR of netlink(7)."""


def reply(  # noqa: PLR0913  # each field of the kernel's answer
    *,
    kind: int = SOCK_DIAG_BY_FAMILY,
    family: int = socket.AF_INET,
    state: int = ESTABLISHED,
    theirs: End = THEIRS,
    ours: End = OURS,
    uid: int = 1234,
    inode: int = 77,
) -> bytes:
    """Return the kernel's answer about a socket."""
    body = FOUND_HEAD.pack(family, state)
    body += ENDS.pack(theirs.port, ours.port, theirs.address, ours.address, bytes(12))
    body += FOUND_TAIL.pack(uid, inode)
    return HEADER.pack(HEADER.size + len(body), kind, 0, 5, 0) + body


@pytest.mark.parametrize("state", [ESTABLISHED, FIN_WAIT2])
def test_the_owner_of_the_clients_end_is_found(state: int) -> None:
    """Also if the client has finished sending, as `nc -N` does."""
    assert owner_in(reply(state=state), THEIRS, OURS) == 1234


def test_a_mapped_address_is_the_one_that_it_maps() -> None:
    """A listener for both versions sees a client of version 4 so."""
    mapped = bytes(10) + b"\xff\xff" + THEIRS.address
    assert end(("::ffff:127.0.0.1", 40000, 0, 0)) == end(("127.0.0.1", 40000)) == THEIRS
    six = reply(family=socket.AF_INET6, theirs=End(mapped, 40000), ours=End(mapped, 9749))
    assert owner_in(six, THEIRS, OURS) == 1234
    assert end(("fe80::1%lo", 1, 0, 1)) == End(socket.inet_pton(socket.AF_INET6, "fe80::1"), 1)


@pytest.mark.parametrize(
    "answer",
    [
        reply(kind=ERROR),
        reply(state=LISTEN),
        reply(state=SYN_SENT),
        reply(state=TIME_WAIT, uid=0, inode=0),
        reply(uid=0, inode=0),
        reply(theirs=OURS, ours=THEIRS),
        reply(theirs=THEIRS._replace(port=40001)),
        reply(ours=End(socket.inet_aton("127.0.0.2"), 9749)),
        reply()[:-1],
        b"",
    ],
)
def test_another_socket_or_none_has_no_owner(answer: bytes) -> None:
    """A socket without a process would seem to be root's: it has the number 0."""
    assert owner_in(answer, THEIRS, OURS) is None


def test_an_answer_to_an_earlier_question_is_none_to_this_one() -> None:
    """The kernel repeats the number of the question."""
    assert answers(reply(), 5)
    assert not answers(reply(), 6)
    assert HEADER.unpack_from(question(7, THEIRS, OURS))[3] == 7


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: reply()[:20] + tail))
def test_no_answer_breaks_anything(answer: bytes) -> None:
    """Whatever arrives on the netlink socket."""
    assert owner_in(answer, THEIRS, OURS) in (None, 1234)
    answers(answer, 5)


@given(st.data())
def test_a_damaged_answer_names_nobody_else(data: st.DataObject) -> None:
    """Each byte of the addresses and ports counts."""
    whole = bytearray(reply())
    place = data.draw(st.integers(HEADER.size + 4, HEADER.size + 4 + 4 + 4 - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert owner_in(bytes(whole), THEIRS, OURS) is None
