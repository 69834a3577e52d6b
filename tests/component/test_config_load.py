"""Configuration files on disk: loaded, refused with all faults, or warned about."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresherd.config import describe, load
from refresherd.domain.errors import ConfigError
from refresherd.domain.model import ApiKeyFile
from support.configurations import APP, DSM, ENVIRON, Place
from support.fakes import API_KEY

KEY = "api_key_file = 'payments.key'"
KEY_FILE = "[apps.payments]\napi_key_file = 'payments.key'\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it."""
    return Place(tmp_path)


def test_a_valid_file_loads(place: Place) -> None:
    """Paths are relative to the file, not to the daemon's working directory."""
    output = "[[apps.payments.files]]\npath = 'payments.token'\n"
    configuration = place.load(f"{DSM}{KEY_FILE}{output}")
    (app,) = configuration.apps
    assert app.credential == ApiKeyFile(place.directory / "payments.key")
    assert app.files[0].path == place.directory / "payments.token"
    assert configuration.warnings == ()
    assert API_KEY not in "".join(describe(configuration))


def test_faults_name_the_file_as_it_was_given(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration itself has the absolute path."""
    monkeypatch.chdir(place.directory)
    place.file.write_text("bogus = 1\n")
    with pytest.raises(ConfigError, match=r"(?m)^config\.toml:1: bogus: unknown key"):
        load(Path("config.toml"), ENVIRON)
    place.file.write_text(f"{DSM}{KEY_FILE}")
    assert load(Path("config.toml"), ENVIRON).path == place.file


def test_faults_of_file_and_machine_are_reported_together(place: Place) -> None:
    """Each is a line of its own."""
    faults = place.faults(
        f"{DSM}timeout = 20\n[apps.payments]\napi_key_file = 'gone.key'\n"
        "[[apps.payments.files]]\npath = 'gone/token'\nowner = 'no-such-user'\n"
    )
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["3", "dsm.timeout"],
        ["5", "apps.payments.api_key_file"],
        ["7", "apps.payments.files[0].path"],
        ["8", "apps.payments.files[0].owner"],
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("gone.toml", None, " there is no such file; create it, or name another one with --config"),
        ("", None, " this is a directory"),
        ("x.toml/y", None, " cannot be read: Not a directory"),
        ("x.toml", b"a = 1\nb = '\xe9'\n", "2: this is not UTF-8 text"),
        ("x.toml", b"a = \n", "1: invalid TOML"),
        ("x.toml", "a = 1\n".encode("utf-16"), "1: this is UTF-16 text; save the file as UTF-8"),
        ("x.toml", "a = 1\n".encode("utf-32"), "1: this is UTF-32 text; save the file as UTF-8"),
        ("x.toml", "a = 1\n".encode("utf-16-le"), "1: a NUL character; this is not a text file"),
        ("x.toml", b"a = 1\nb = '\0'\n", "2: a NUL character; this is not a text file, or not"),
    ],
)
def test_an_unreadable_file_is_one_fault(
    place: Place, name: str, content: bytes | None, expected: str
) -> None:
    """It is not a traceback. What cannot be read at all has no line to name."""
    place.write("x.toml", content or b"")
    path = place.directory / name
    with pytest.raises(ConfigError) as error:
        load(path, ENVIRON)
    (fault,) = error.value.faults
    assert fault.startswith(f"{path}:{expected}")


def test_offline_nothing_of_this_host_counts(place: Place) -> None:
    """A CI machine has neither keys nor directories, users or variables of the hosts to come."""
    text = (
        f"state_dir = '/nowhere/state'\n{DSM}ca_file = 'gone.pem'\n"
        "[apps.a]\napi_key_file = 'gone.key'\n"
        "[[apps.a.files]]\npath = '/nowhere/token'\nowner = 'no-such-user'\n"
        "[[apps.a.hooks]]\ncommand = ['no-such-program']\n"
        "[apps.b]\napi_key_env = 'NOT_SET'\n"
        "[apps.c]\napi_key_credential = 'c'\n"
        "[apps.d]\ntoken_file = 'gone.token'\n"
    )
    place.file.write_text(text)
    configuration = load(place.file, {}, offline=True)
    assert len(configuration.apps) == 4
    assert configuration.troubles == configuration.warnings == configuration.notes == ()
    assert list(describe(configuration))


def test_offline_faults_and_warnings_of_the_file_remain(place: Place) -> None:
    """CI has to catch a typo or a broken rule."""
    place.file.write_text(
        f"{DSM}{KEY_FILE}at = 2\n[[apps.payments.files]]\npath = 'a'\nmode = '0644'\n"
    )
    with pytest.raises(ConfigError) as error:
        load(place.file, ENVIRON, offline=True)
    assert [line.split(":")[1] for line in error.value.faults] == ["5"]
    assert [line.split(": ")[1] for line in error.value.others] == ["warning"]


def test_a_byte_order_mark_is_accepted(place: Place) -> None:
    """Some editors write one, and it is invisible."""
    place.file.write_bytes(b"\xef\xbb\xbf" + f"{DSM}{KEY_FILE}".encode())
    assert load(place.file, ENVIRON).apps


def test_world_readable_tokens_and_missing_hook_programs_are_warned_about(place: Place) -> None:
    """Both may be intended, and neither keeps tokens from being fresh."""
    warnings = place.load(
        f"{DSM}{KEY_FILE}[[apps.payments.files]]\npath = 'a'\nmode = '0644'\n"
        "[[apps.payments.hooks]]\ncommand = ['no-such-program']\n"
    ).warnings
    assert any(
        'files[0].mode: "0644" gives every user of this host access' in line for line in warnings
    )
    assert any(
        'command[0]: the program "no-such-program" was not found' in line for line in warnings
    )


@pytest.mark.parametrize(
    ("table", "mode", "warning"),
    [
        ("[[apps.payments.files]]", "0644", 'access to the token; set a group and "0640"'),
        ("[[apps.payments.files]]", "0640", ""),
        ("[[apps.payments.sockets]]", "0666", 'access to the token; set a group and "0660"'),
        ("[[apps.payments.sockets]]", "0660", ""),
        ("[[apps.payments.sockets]]", "0640", 'takes the permission to write; write "0660"'),
        ("[[apps.payments.sockets]]", "0664", 'takes the permission to write; write "0666"'),
        ("[api]", "0644", 'takes the permission to write; write "0666"'),
        ("[api]", "0666", ""),
    ],
)
def test_modes_that_may_not_be_meant(place: Place, table: str, mode: str, warning: str) -> None:
    """Connecting to a socket takes the permission to write: unix(7)."""
    text = f"{DSM}{KEY_FILE}{table}\npath = 'a'\nmode = '{mode}'\n"
    found = [line for line in place.load(text).warnings if ".mode: " in line]
    assert len(found) == bool(warning)
    assert not warning or warning in found[0]


@pytest.mark.parametrize(
    "lines",
    [
        "api_key_file = 'gone.key'",
        "api_key_file = 'empty.key'",
        "api_key_file = 'directory'",
        "api_key_file = 'payments.key/key'",
        "api_key_command = ['no-such-program']",
        f"{KEY}\nca_file = 'gone.pem'",
        f"{KEY}\nca_file = 'empty.key'",
        (
            "app_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\n"
            "cert_file = 'payments.key'\nkey_file = 'gone.pem'"
        ),
        f"{KEY}\nfiles = [{{path = 'gone/token'}}]",
        f"{KEY}\nfiles = [{{path = 'directory'}}]",
        f"{KEY}\nfiles = [{{path = 'pipe'}}]",
        f"{KEY}\nfiles = [{{path = 'token', owner = 'no-such-user'}}]",
        f"{KEY}\nsockets = [{{path = 'gone/socket', group = 'no-such-group'}}]",
        f"{KEY}\nsockets = [{{path = 'empty.key'}}]",
        f"{KEY}\naccess = {{users = ['no-such-user'], groups = ['no-such-group']}}",
        f"{KEY}\n[api]\npath = 'gone/api.sock'\ngroup = 'no-such-group'",
    ],
)
def test_what_the_host_lacks_is_no_fault(place: Place, lines: str) -> None:
    """It may come, and until then the other apps have to go on."""
    place.write("empty.key", "")
    (place.directory / "directory").mkdir()
    os.mkfifo(place.directory / "pipe")
    configuration = place.load(f"{DSM}[apps.payments]\n{lines}\n")
    assert configuration.troubles
    assert configuration.warnings == configuration.notes == ()
    assert [app.name for app in configuration.apps] == ["payments"]


@pytest.mark.parametrize(
    "lines",
    [
        "api_key_command = ['./program']",
        "api_key_file = 'open.key'",
        f"{KEY}\nfiles = [{{path = 'payments.key'}}]",
        f"{KEY}\nfiles = [{{path = 'token', owner = '4294967295'}}]",
        f"{KEY}\nsockets = [{{path = '{'x' * 108}'}}]",
        f"{KEY}\nfiles = [{{path = '{'x' * 256}'}}]",
    ],
)
def test_what_no_other_host_would_mend_is_a_fault(place: Place, lines: str) -> None:
    """The daemon neither starts nor reloads with it; what the host lacks is told along with it."""
    place.write("open.key", API_KEY, 0o644)
    place.file.write_text(f"{DSM}ca_file = 'gone.pem'\n[apps.payments]\n{lines}\n")
    with pytest.raises(ConfigError) as error:
        load(place.file, ENVIRON)
    assert len(error.value.faults) == 1
    (trouble,) = error.value.others
    assert trouble.startswith(f"{place.file}:3: dsm.ca_file: ")


def test_a_thousand_apps_load_with_shared_lookups(place: Place) -> None:
    """A start must not take longer than a second for each thousand apps."""
    apps = [
        KEY_FILE.replace("[apps.payments]", f"[apps.app-{number}]")
        + f"[[apps.app-{number}.files]]\npath = '{number}.token'\nowner = 'root'\n"
        for number in range(1000)
    ]
    configuration = place.load(DSM + "".join(apps))
    assert len(configuration.apps) == 1000
    assert len({id(app.endpoint) for app in configuration.apps}) == 1


LINES = st.sampled_from(
    [
        *(
            DSM.split("\n")[0],
            DSM.split("\n")[1],
            *APP.split("\n"),
            "[apps]",
            "[refresh]",
            "[http]",
        ),
        *("[[apps.payments.files]]", "[[apps.payments.sockets]]", "[[apps.payments.hooks]]"),
        *("path = 'x'", "path = '/dev/null'", "path = '.'", "path = '\\u0000'", "mode = '0644'"),
        *("owner = 'root'", "group = '99999999999'", "command = ['sh', \"\\u0000\"]", "at = 0.2"),
        *("api_key_file = 'fuzz.toml'", "token_file = 'x'", "state_dir = '.'", "listen = ['a:1']"),
        *("api_key_command = ['.']", "cert_file = '.'", "key_file = 'fuzz.toml'", "ca_file = '/'"),
        *("endpoint = 'http://[::1]'", "jitter = 0", "signal = 'HUP'", "pid_file = 'x'"),
    ]
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file for each example to write."""
    return tmp_path_factory.mktemp("fuzz") / "fuzz.toml"


# Drawing files is slow on a busy machine, which is no fault of the code.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=200) | st.lists(LINES, max_size=15).map(lambda it: "\n".join(it).encode())
)
def test_any_bytes_are_a_configuration_or_have_faults_with_lines(
    scratch: Path, content: bytes
) -> None:
    """Whatever the file holds, each fault names a line of it."""
    scratch.write_bytes(content)
    scratch.chmod(0o600)
    try:
        faults = load(scratch, {**os.environ, **ENVIRON}).warnings
    except ConfigError as error:
        faults = error.faults or ("a refusal without a fault",)
    for fault in faults:
        line = fault.removeprefix(f"{scratch}:").partition(":")[0]
        assert 1 <= int(line) <= content.count(b"\n") + 1
        assert len(fault.splitlines()) == 1


EXAMPLE = (Path(__file__).parents[2] / "config.example.toml").read_bytes()

PIECES = st.sampled_from(
    [
        *(
            b"",
            b'"',
            b"'",
            b"=",
            b"[",
            b"]",
            b"{",
            b"}",
            b"#",
            b"\\",
            b".",
            b",",
            b":",
            b"\n",
            b"\r",
        ),
        *(
            b"\0",
            b"\xff",
            b"\xef\xbb\xbf",
            b"\xe2\x80\x9c",
            b'"""',
            b"'''",
            b"-1",
            b"nan",
            b"9" * 5000,
        ),
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 60), PIECES), max_size=4))
def test_any_slip_of_the_pen_is_a_fault_on_a_line(edits: list[tuple[int, int, bytes]]) -> None:
    """A traceback would keep an operator from the line that has to be repaired."""
    content = bytearray(EXAMPLE)
    for start, length, piece in edits:
        content[start : start + length] = piece
    with TemporaryDirectory() as directory:
        path = Path(directory) / "config.toml"
        path.write_bytes(content)
        faults: tuple[str, ...] = ()
        try:
            load(path, ENVIRON)
        except ConfigError as error:
            faults = error.faults
    assert all(fault.startswith(f"{path}:") for fault in faults)
    assert not any("\n" in fault for fault in faults)
