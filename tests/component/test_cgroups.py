"""A process is found in a tree of control groups that looks as systemd makes it."""

from collections.abc import Iterable
from pathlib import Path

from refresherd.host.cgroups import unit_path


def tree(root: Path, groups: Iterable[str]) -> Path:
    """Make groups, each `path: pids`, under a root group without members."""
    for line in ("/:", *groups):
        path, _, members = line.partition(":")
        group = root / path.strip("/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(members.strip().replace(" ", "\n"))
    return root


def test_the_unit_is_found_in_its_slice(tmp_path: Path) -> None:
    """Slices may lie in slices, and are never the unit themselves."""
    root = tree(tmp_path, ["/init.scope: 1", "/a.slice:", "/a.slice/a-b.slice/c.service: 12 345"])
    assert unit_path(345, (root,)) == "/a.slice/a-b.slice/c.service"
    assert unit_path(1, (root,)) == "/init.scope"


def test_what_a_unit_has_made_below_is_the_units(tmp_path: Path) -> None:
    """Whoever is delegated a group may name those below as it likes: they are no units."""
    root = tree(tmp_path, ["/system.slice/a.service:", "/system.slice/a.service/b.service/c: 7"])
    assert unit_path(7, (root,)) == "/system.slice/a.service"


def test_a_pid_is_no_part_of_another(tmp_path: Path) -> None:
    """12 is not 123: a token would go to the wrong unit."""
    root = tree(tmp_path, ["/system.slice/a.service: 123 4", "/system.slice/b.service: 12"])
    assert unit_path(12, (root,)) == "/system.slice/b.service"
    assert unit_path(3, (root,)) == ""


def test_a_group_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Units end while they are looked at, and groups of threads list no processes."""
    root = tree(tmp_path, ["/system.slice/b.service: 12"])
    (root / "system.slice" / "a.service" / "cgroup.procs").mkdir(parents=True)
    assert unit_path(12, (root,)) == "/system.slice/b.service"


def test_the_tree_is_looked_for_where_systemd_mounts_it(tmp_path: Path) -> None:
    """With version 1 beside it, the place of version 2 alone holds mount points only."""
    (tmp_path / "alone").mkdir()
    beside = tree(tmp_path / "beside", ["/system.slice/a.service: 5"])
    assert unit_path(5, (tmp_path / "alone", beside)) == "/system.slice/a.service"
    assert unit_path(5, (tmp_path / "alone",)) == ""
