"""Who else may write to a file, by its mode and the members of its group."""

import os
import pwd
import stat

import pytest

from refresherd.host import trust

GROUP = 4_100_000
"""A group that no host knows by name."""


def test_a_member_who_left_the_group_is_not_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends a group instead of a file's mode, and then reloads the daemon."""
    shared = os.stat_result((stat.S_IFREG | 0o660, 0, 0, 1, os.geteuid(), GROUP, 0, 0, 0, 0))
    alice = pwd.struct_passwd(("alice", "x", 4_100_001, GROUP, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [alice])
    trust.look_up_groups_again()
    assert trust.other_writers(shared) == f"the group {GROUP} (mode 0660)"
    monkeypatch.setattr(pwd, "getpwall", list)
    trust.look_up_groups_again()
    assert trust.other_writers(shared) == ""
