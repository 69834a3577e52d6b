"""What a service manager says in the environment, and what of it a child may see."""

from hypothesis import given
from hypothesis import strategies as st

from refresherd.host.service_manager import OWN, Descriptor, Manager, without_own

PID = 4711


def test_without_a_service_manager_there_is_nothing() -> None:
    """A daemon started by hand must not take its standard streams or a pipe for sockets."""
    assert Manager.of({}, PID) == Manager()


def test_all_that_a_manager_gives_is_found() -> None:
    """It is the whole of what sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3) say."""
    environ = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_PID": str(PID),
        "WATCHDOG_USEC": "30000000",
        "LISTEN_PID": str(PID),
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "api:raw",
    }
    passed = (Descriptor(3, "api"), Descriptor(4, "raw"))
    assert Manager.of(environ, PID) == Manager("/run/systemd/notify", 30.0, passed)


def test_what_is_for_another_process_is_ignored() -> None:
    """A shell that systemd started passes its variables on, and their descriptors are not ours."""
    environ = {"WATCHDOG_PID": "1", "WATCHDOG_USEC": "1", "LISTEN_PID": "1", "LISTEN_FDS": "3"}
    assert Manager.of(environ, PID) == Manager()


def test_a_descriptor_without_a_name_has_none() -> None:
    """Old managers name nothing, and an empty name must not shift the others'."""
    environ = {"LISTEN_PID": str(PID), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:"}
    assert [one.name for one in Manager.of(environ, PID).passed] == ["a", "", ""]


@given(st.dictionaries(st.sampled_from(sorted(OWN)), st.text()))
def test_no_nonsense_keeps_the_daemon_from_starting(environ: dict[str, str]) -> None:
    """The environment is not the daemon's own: whatever stands there must not be a traceback."""
    found = Manager.of({**environ, "LISTEN_PID": str(PID)}, PID)
    assert all(one.fd >= 3 for one in found.passed)
    assert found.watchdog is None or found.watchdog > 0


def test_children_get_nothing_that_lets_them_speak_for_the_daemon() -> None:
    """A hook that runs systemd-notify or a shell's `sd_notify` would tell of the daemon's state."""
    environ = dict.fromkeys(OWN, "1") | {"PATH": "/bin"}
    assert without_own(environ) == {"PATH": "/bin"}
