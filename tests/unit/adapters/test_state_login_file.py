"""The file of failed logins as text: what is read back, in which time, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.adapters.state.login_file import MAX_BYTES, Boot, decoded, encoded
from refresherd.domain.login_budget import NEVER_YET, History
from refresherd.domain.model import Instant

BOOT = Boot("one", Instant(5000.0), 1_700_000_000.0)
NEXT = Boot("two", Instant(60.0), 1_700_009_000.0)
"""The next boot began 9,000 s after the first one."""

NAME = "ab" * 32
INSTANTS = st.lists(st.floats(-1e6, 5000.0), max_size=60).map(lambda ats: tuple(sorted(ats)))
HISTORIES = st.builds(
    History, INSTANTS, INSTANTS, st.one_of(st.just(NEVER_YET), st.floats(-1e6, 5000.0))
)


KEY = b"k" * 32


def file(*refused: float, boot: Boot = BOOT) -> bytes:
    """Return a file about one credential that was refused at these instants."""
    return encoded(KEY, histories(*refused), boot)


def histories(*refused: float) -> dict[str, History]:
    """Return the histories of one credential that was refused at these instants."""
    return {NAME: History(tuple(map(Instant, refused)))}


@given(HISTORIES)
def test_a_file_is_read_as_it_was_written_in_the_same_boot(history: History) -> None:
    """To the last bit, so that no login is allowed a moment too early."""
    key = bytes(range(32))
    assert decoded(encoded(key, {NAME: history}, BOOT), BOOT) == (key, {NAME: history})


def test_a_file_of_an_earlier_version_is_read() -> None:
    """An upgrade restarts the daemon, and must not forget what was refused."""
    raw = (
        f'{{"version": 1, "key": "{NAME}", "boot_id": "one", "wall_offset": 1700000000.0, '
        f'"credentials": {{"{NAME}": {{"refused": [900, 990.5], "cut_off": [995.0], '
        f'"good_at": null}}}}}}\n'
    )
    history = History((Instant(900.0), Instant(990.5)), (Instant(995.0),))
    assert decoded(raw.encode(), BOOT) == (bytes.fromhex(NAME), {NAME: history})


@pytest.mark.parametrize("step", [-1e9, -1.0, 1.0, 1e9])
def test_setting_the_clock_changes_nothing_within_a_boot(step: float) -> None:
    """It may neither free a burnt credential nor extend a wait."""
    stepped = replace(BOOT, wall_offset=BOOT.wall_offset + step)
    assert decoded(file(4000.0), stepped) == (KEY, histories(4000.0))


def test_instants_of_another_boot_are_translated_by_the_wall_clock() -> None:
    """Boot time starts over with each boot."""
    assert decoded(file(4000.0), NEXT) == (KEY, histories(-5000.0))


@pytest.mark.parametrize("boot_id", ["", "one"])
def test_a_boot_without_an_id_counts_as_another(boot_id: str) -> None:
    """If the kernel's boot id cannot be read, the wall clock has to do."""
    unnamed = replace(NEXT, id="")
    written_then = file(4000.0, boot=replace(BOOT, id=boot_id))
    assert decoded(written_then, unnamed) == (KEY, histories(-5000.0))


def test_an_instant_in_the_future_counts_as_now() -> None:
    """A machine without a clock of its own wakes up in 1970."""
    lost = replace(NEXT, wall_offset=0.0)
    assert decoded(file(3000.0, 4000.0), lost) == (KEY, histories(60.0, 60.0))


def test_it_contains_neither_names_nor_keys() -> None:
    """Only fingerprints, and when logins failed."""
    fields = json.loads(file(4000.0))
    assert fields["credentials"] == {NAME: {"refused": [4000.0], "cut_off": [], "good_at": None}}


def broken(**changes: Any) -> bytes:  # noqa: ANN401  # whatever JSON can say
    """Return a valid file with these changes."""
    return json.dumps(json.loads(file(1.0)) | changes).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\x00", "not valid JSON"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"more": ' + b"[" * 100_000, "not valid JSON"),
        (b"[]", "Expected `object`"),
        (b" " * (MAX_BYTES + 1), "bytes"),
        (broken(version=2), "it is of version 2, not 1"),
        (broken(version="1"), r"at `\$.version`"),
        (broken(key="abc"), r"at `\$.key`"),
        (broken(key=NAME + "\n"), r"at `\$.key`"),
        (broken(key=None), r"at `\$.key`"),
        (broken(boot_id=7), r"at `\$.boot_id`"),
        (broken(boot_id="two", wall_offset="x"), r"at `\$.wall_offset`"),
        (broken(credentials=[]), r"at `\$.credentials`"),
        (broken(credentials={"x": {}}), r"at `key` in `\$.credentials`"),
        (broken(credentials={NAME: {}}), "field `refused`"),
        (broken(credentials={NAME: {"refused": [], "cut_off": []}}), "field `good_at`"),
        (broken(credentials={NAME: {"refused": ["x"], "cut_off": []}}), r"refused\[0\]"),
        (broken(credentials={NAME: {"refused": [True], "cut_off": [], "good_at": 1}}), "`bool`"),
        (broken(credentials={NAME: {"refused": [1e999], "cut_off": [], "good_at": 1}}), "JSON"),
        (broken(credentials={NAME: {"refused": [10**400], "cut_off": [], "good_at": 1}}), "range"),
    ],
)
def test_what_is_not_a_record_is_refused(raw: bytes, message: str) -> None:
    """The reason is one line, which quotes nothing."""
    with pytest.raises(ValueError, match=message):
        decoded(raw, BOOT)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
def test_no_content_breaks_the_parser(raw: bytes) -> None:
    """Whatever is in the file, it is used or refused."""
    with pytest.raises(ValueError, match=r"^it "):
        decoded(raw, BOOT)


@given(
    st.fixed_dictionaries(
        {"version": st.just(1), "key": st.just(NAME), "boot_id": st.sampled_from(["one", "two"])},
        optional={
            "wall_offset": JSON,
            "credentials": st.dictionaries(
                st.just(NAME),
                st.fixed_dictionaries({}, optional=dict.fromkeys(["refused", "cut_off"], JSON)),
            ),
        },
    )
)
def test_an_almost_valid_record_is_used_or_refused(fields: dict[str, object]) -> None:
    """Each part is checked by itself."""
    try:
        _, found = decoded(json.dumps(fields).encode(), BOOT)
    except ValueError as error:
        assert str(error).startswith("it ")  # noqa: PT017  # either outcome is fine
    else:
        assert all(at <= BOOT.now for history in found.values() for at in history.failed)
