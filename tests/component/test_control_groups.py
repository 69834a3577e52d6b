"""The search for a process in the control groups of units, in directories that look like them."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from refresherd.host.control_groups import Bounds, SearchTooLong, unit_among

UNITS = frozenset({"a.service", "b.service"})


def tree(root: Path, groups: Iterable[str]) -> Path:
    """Make groups, each `path: pids`, under a root group without members."""
    for line in ("/:", *groups):
        path, _, members = line.partition(":")
        group = root / path.strip("/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(members.strip().replace(" ", "\n"))
    return root


def found(pid: int, *roots: Path, units: Iterable[str] = UNITS) -> str:
    """Return the unit among some in which a process is found."""
    return unit_among(frozenset(units), pid, roots)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/a.service", "a.service"),
        ("/init.scope", "init.scope"),
        ("/a.slice/a-b.slice/c.service", "c.service"),
        ("/system.slice/system-web.slice/web@1.service", "web@1.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/_cpu.slice/a.service", "a.service"),
        ("/system.slice/dev\\x2dweb.service", "dev\\x2dweb.service"),
    ],
)
def test_the_unit_is_found_in_its_slice(tmp_path: Path, path: str, unit: str) -> None:
    """Slices may lie in slices, and systemd escapes what could be a file of the kernel."""
    root = tree(tmp_path, [f"{path}: 12 345", "/system.slice/other.service: 7"])
    assert found(345, root, units=("no.service", unit)) == unit
    assert found(7, root, units=("no.service", unit)) == ""
    assert found(345, root, units=("no.service",)) == ""


def test_a_group_below_a_units_group_is_the_units(tmp_path: Path) -> None:
    """Whoever is delegated a group may name those below it at will: they are not units."""
    root = tree(tmp_path, ["/system.slice/a.service:", "/system.slice/a.service/b.service/c: 7"])
    assert found(7, root) == "a.service"
    assert found(7, root, units=("b.service",)) == ""


@pytest.mark.parametrize(
    "path",
    [
        "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
        "/user.slice/user-1000.slice/user@1000.service/a.slice/a.service",
        "/system.slice/docker-1.scope/system.slice/a.service",
        "/docker/0123/system.slice/a.service",
    ],
)
def test_what_a_user_may_have_named_is_no_unit(tmp_path: Path, path: str) -> None:
    """Users' managers and containers make groups with any name, slices too."""
    assert found(7, tree(tmp_path, [f"{path}: 7"])) == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a.slice", "cgroup.procs", "a.service/b"])
def test_a_name_that_no_unit_has_is_not_looked_for(tmp_path: Path, name: str) -> None:
    """A name in the configuration must lead nowhere else in the file system."""
    root = tree(tmp_path, ["/a.slice: 7", "/system.slice/a.service/b: 7"])
    assert found(7, root, units=(name,)) == ""


def test_a_pid_does_not_match_part_of_another(tmp_path: Path) -> None:
    """If 12 matched 123, a token would go to the wrong unit."""
    root = tree(tmp_path, ["/system.slice/a.service: 123 4", "/system.slice/b.service: 12"])
    assert found(12, root) == "b.service"
    assert found(3, root) == ""


def test_a_group_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Units end while they are looked at, and groups of threads list no processes."""
    root = tree(tmp_path, ["/system.slice/b.service: 12"])
    (root / "system.slice" / "a.service" / "cgroup.procs").mkdir(parents=True)
    assert found(12, root) == "b.service"


def test_the_tree_is_looked_for_where_systemd_mounts_it(tmp_path: Path) -> None:
    """With version 1 beside it, the place of version 2 alone holds mount points only.

    Version 2 may be mounted and empty, where systemd uses version 1.
    """
    (tmp_path / "alone").mkdir()
    beside = tree(tmp_path / "beside", [])
    named = tree(tmp_path / "named", ["/system.slice/a.service: 5"])
    assert found(5, tmp_path / "alone", beside, named) == "a.service"
    assert found(5, tmp_path / "alone", beside) == ""


def test_a_delegated_tree_of_any_size_costs_others_nothing(tmp_path: Path) -> None:
    """One user made 30,000 groups, and every look-up took more than a second."""
    user = "/user.slice/user-1000.slice/user@1000.service"
    root = tree(tmp_path, [*(f"{user}/{n}:" for n in range(50)), "/system.slice/a.service: 5"])
    few = Bounds(groups=6)
    assert unit_among(UNITS, 5, (root,), few) == "a.service"
    assert unit_among(UNITS, 6, (root,), few) == ""


def test_a_unit_with_very_many_groups_hides_no_other_unit(tmp_path: Path) -> None:
    """The two units have different users, and one could shut out the other."""
    many = (f"/system.slice/a.service/{n}/deep:" for n in range(50))
    root = tree(tmp_path, [*many, "/system.slice/b.service/worker: 5"])
    assert unit_among(UNITS, 5, (root,), Bounds(groups=10)) == "b.service"


def test_a_search_that_is_too_long_has_no_result(tmp_path: Path) -> None:
    """To say that the process is in none of the units would be a guess."""
    root = tree(tmp_path, [f"/system.slice/a.service/{n}:" for n in range(50)])
    with pytest.raises(SearchTooLong):
        unit_among(UNITS, 5, (root,), Bounds(groups=10))
    seconds = iter(range(1000))
    with pytest.raises(SearchTooLong):
        unit_among(UNITS, 5, (root,), Bounds(seconds=20), lambda: float(next(seconds)))
