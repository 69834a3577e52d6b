"""Paths are compared as the kernel compares them, before an output is written and while it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.errors import OutputError
from refresherd.host.path_identity import Claims, Directory, Resolver


def inode(path: Path) -> Directory:
    """Return what the kernel knows a file by, whatever links lead there."""
    found = path.stat()
    return found.st_dev, found.st_ino


def entry(path: Path) -> object:
    """Return the name that an output at a path would take."""
    return Resolver().directory(path.parent).entry(path.name)


def test_a_name_is_known_by_its_directory_however_that_is_spelled(tmp_path: Path) -> None:
    """On every host /var/run is a link to /run."""
    (tmp_path / "run" / "below").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "run")
    (tmp_path / "relative").symlink_to("run/./below/..")
    (tmp_path / "chain").symlink_to("relative")
    spellings = ("run", "absolute", "relative", "chain")
    assert len({entry(tmp_path / one / "token") for one in spellings}) == 1
    assert entry(tmp_path / "run" / "token") == (inode(tmp_path / "run"), "token")


def test_an_output_replaces_a_link_and_an_input_follows_it(tmp_path: Path) -> None:
    """As rename(2) and open(2) do: so the link's own name and its target are two names."""
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    assert entry(tmp_path / "link") == (inode(tmp_path), "link")
    passed = Resolver().opened(tmp_path / "link").traversed
    assert [name for _, name in passed] == ["link", "target"]


def test_a_missing_directory_counts_by_its_name(tmp_path: Path) -> None:
    """It may be created later, and the two paths would then be one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("real/new")
    assert entry(tmp_path / "link" / "new" / "token") == (inode(tmp_path / "real"), "new/token")
    assert entry(tmp_path / "dangling" / "token") == (inode(tmp_path / "real"), "new/token")


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    """The kernel refuses it, and nothing is behind it."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "wide").symlink_to("/".join(["a/.."] * 50))
    for name in ("a", "b", "wide"):
        assert Resolver().opened(tmp_path / name / "token").missing
        assert Resolver().opened(tmp_path / name).missing


def test_a_path_of_a_thousand_directories_is_followed() -> None:
    """The kernel allows it, so no recursion may end on the way."""
    deep = Path("/" + "x/" * 2000) / "token"
    assert Resolver().directory(deep.parent).missing.count("x") == 2000


def test_without_looking_paths_are_compared_by_their_spelling(tmp_path: Path) -> None:
    """A configuration may be checked on a host that will not run it."""
    (tmp_path / "link").symlink_to(tmp_path)
    resolver = Resolver(looks=False)
    plain = resolver.opened(tmp_path / "token")
    linked = resolver.opened(tmp_path / "link" / "token")
    assert plain.missing == str(tmp_path / "token").removeprefix("/")
    assert plain.traversed[-1] != linked.traversed[-1]


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.lists(st.sampled_from(["a", "b", "c", ".", ".."]), min_size=1, max_size=4)


@given(
    directories=st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=6),
    links=st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join), TARGETS.map("/".join), max_size=6
    ),
    path=st.lists(NAMES, min_size=1, max_size=5).map("/".join),
)
def test_every_path_leads_where_the_kernel_says(
    directories: set[str], links: dict[str, str], path: str
) -> None:
    """Among random directories and links, the resolver and stat(2) find the same file or none."""
    with TemporaryDirectory() as name:
        top = Path(name)
        for directory in directories:
            (top / directory).mkdir(parents=True, exist_ok=True)
        for link, target in links.items():
            with suppress(OSError):  # another link is in the way
                (top / link).parent.mkdir(parents=True, exist_ok=True)
                (top / link).symlink_to(target)
        place = Resolver().opened(top / path)
        try:
            expected: Directory | None = inode(top / path)
        except OSError:
            expected = None
        assert (None if place.missing else place.inode) == expected


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Open a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def claim(claims: Claims, path: Path) -> None:
    """Claim a path's name, as an output does before it writes."""
    with opened(path.parent) as directory:
        claims.claim(directory, str(path), path.name)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Return two outputs of the same name in two directories."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one" / "token", tmp_path / "two" / "token"


def claims_of(*outputs: Path) -> Claims:
    """Return the claims of a configuration with these outputs."""
    claims = Claims()
    claims.configure(map(str, outputs), {})
    return claims


def test_the_first_output_keeps_its_name_when_another_is_led_there(
    places: tuple[Path, Path],
) -> None:
    """Otherwise two apps would write one file by turns, each with its own token."""
    one, two = places
    claims = claims_of(one, two)
    claim(claims, one)
    claim(claims, two)
    two.parent.rename(two.parent.with_name("away"))
    two.parent.symlink_to("one")
    with pytest.raises(OutputError) as raised:
        claim(claims, two)
    assert str(raised.value) == (
        f"{two}: it is the same file as {one} now, through a link or a mount; correct that"
    )
    claim(claims, one)


def test_outputs_that_change_places_get_over_it(places: tuple[Path, Path]) -> None:
    """An output that has moved no longer holds its old name, so both can continue."""
    one, two = places
    claims = claims_of(one, two)
    claim(claims, one)
    claim(claims, two)
    one.parent.rename(one.parent.with_name("other"))
    two.parent.rename(one.parent)
    one.parent.with_name("other").rename(two.parent)
    with pytest.raises(OutputError, match="it is the same file as"):
        claim(claims, one)
    claim(claims, two)
    claim(claims, one)


def test_a_reload_frees_the_names_of_outputs_that_are_gone(places: tuple[Path, Path]) -> None:
    """An output may be written under another spelling of the same path from now on."""
    one, _ = places
    respelled = one.parent.with_name("link") / one.name
    respelled.parent.symlink_to(one.parent)
    claims = claims_of(one)
    claim(claims, one)
    claims.configure([str(respelled)], {})
    claim(claims, respelled)
    with pytest.raises(OutputError, match="it is the same file as"):
        claim(claims, one)  # it is about to remove its file, which is another's now
    claim(claims, respelled)


def test_an_output_that_is_gone_may_remove_its_file(places: tuple[Path, Path]) -> None:
    """Nobody else has claimed it; and doing so keeps the name free for others."""
    one, two = places
    claims = claims_of(two)
    claim(claims, one)
    two.parent.rmdir()
    two.parent.symlink_to("one")
    claim(claims, two)


def test_no_output_takes_the_name_of_a_file_that_is_read(places: tuple[Path, Path]) -> None:
    """A key that a token overwrites is lost."""
    one, two = places
    claims = Claims()
    claims.configure([str(one), str(two)], {inode(two.parent): {"token": "api_key_file"}})
    claim(claims, one)
    one.parent.rmdir()
    one.parent.symlink_to(two.parent)
    with pytest.raises(OutputError, match=r"would overwrite a file that is read \(api_key_file\)"):
        claim(claims, one)


def test_no_output_is_led_into_the_state_directory(places: tuple[Path, Path]) -> None:
    """There it could take the place of the lock, or of a session."""
    one, two = places
    claims = Claims(lambda: inode(two.parent))
    claims.configure([str(one)], {})
    claim(claims, one)
    one.parent.rmdir()
    one.parent.symlink_to(two.parent)
    with pytest.raises(OutputError, match="it is in state_dir now"):
        claim(claims, one)
