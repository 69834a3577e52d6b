"""Faults of the file itself: all of them, each at its line."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from refresherd.config.app_settings import AccessTable, AppTable, FileTable, HookTable
from refresherd.config.configuration import Configuration, build
from refresherd.config.credentials import check_credentials
from refresherd.config.explanations import unknown_key
from refresherd.config.findings import Kind
from refresherd.config.parse import parse_settings
from refresherd.config.rules import check_rules
from refresherd.config.settings import ApiTable, DsmTable, HttpTable, RefreshTable, RootTable, keys
from refresherd.config.source import report
from support.configurations import APP, DSM, FILE, faults_in
from support.fakes import API_KEY

TOKEN = "Zk3-x_9QbT" * 8 + "aB3dE6"


def fault_of(text: str) -> str:
    """Return the only fault of a text; its first line is line 1."""
    (fault,) = faults_in(text)
    return fault


def test_all_faults_are_reported_at_once_in_the_order_of_lines() -> None:
    """An operator corrects a file once, not once for each fault."""
    text = (
        'shutdown = "kep"\n'
        "[dsm]\n"
        'endpoint = "https://amer.smartkey.io"\n'
        "timeout = 20\n"
        "[refresh]\n"
        "att = 0.5\n"
        'jitter = "0.1"\n'
        "[apps.payments]\n"
        f'api_key = "{API_KEY}"\n'
        'api_key_env = "FORTANIX_API_KEY"\n'
        "[[apps.payments.files]]\n"
        'path = "/run/a"\n'
        "mode = 0o600\n"
        'format = "yaml"\n'
    )
    assert "\n".join(faults_in(text)) == (
        '1: shutdown: "kep" is not one of the choices; write "keep" or "terminate"; '
        'did you mean "keep"?\n'
        "4: dsm.timeout: 20 is a number; write numbers with units (d, h, m, s, ms, the largest "
        'first); did you mean "20s"?\n'
        '6: refresh.att: unknown key; did you mean "at"?\n'
        '7: refresh.jitter: "0.1" is a string; write a number, such as 0.1\n'
        "9: apps.payments.api_key: unknown key; secrets must not be in this file: put the API key "
        "in a separate file (chmod 0600) and write its path as api_key_file\n"
        "13: apps.payments.files[0].mode: 384 is a number; write three octal digits in quotes, "
        'as for chmod; did you mean "0600"?\n'
        '14: apps.payments.files[0].format: "yaml" is not one of the choices; write "raw", '
        '"header", "json", "env" or "sdkms-cli"'
    )


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("log = 5", "1: log: 5 is a number; write a table headed [log]"),
        ("ready = true", '1: ready: true is a boolean; write "settled", "all", '),
        ("state_dir = 1", "1: state_dir: 1 is a number; write a path, relative to this file or"),
        ("bogus = 1", "1: bogus: unknown key; `refresherd schema` lists"),
        ("refresh.at = nan", "1: refresh.at: nan is out of range; write a number from 0.05 to"),
        ("refresh.at = true", "1: refresh.at: true is a boolean; write a number, such as 0.5"),
        ("refresh.at = 1", "1: refresh.at: 1 is out of range"),
        ("refresh.at = 0.04", "1: refresh.at: 0.04 is out of range; write a number from 0.05 to"),
        (f"refresh.at = 0x{'f' * 5000}", "1: refresh.at: this is out of range"),
        (
            "refresh.jitter = -0.1",
            "1: refresh.jitter: -0.1 is out of range; write a number of at le",
        ),
        ("refresh.jitter = inf", "1: refresh.jitter: at = 0.5 with jitter = inf may refresh a"),
        ("refresh.jitter = 0.46", "1: refresh.jitter: at = 0.5 with jitter = 0.46 may refresh a"),
        ('refresh.retry_min = "99ms"', '1: refresh.retry_min: "99ms" is too short; write "100ms"'),
        ('refresh.retry_min = "31s"', '1: refresh.retry_min: "31s" is longer than retry_max ("30s'),
        ('refresh.session_check = "1ms"', '1: refresh.session_check: "1ms" is too short; write'),
        (
            'refresh.session_check = "soon"',
            '1: refresh.session_check: "soon" is not a valid duration',
        ),
        ('refresh.rejected_retry = "28m"', '1: refresh.rejected_retry: a rejected_retry of "28m"'),
        ('http.listen = "127.0.0.1:9749"', '1: http.listen: "127.0.0.1:9749" is a string; write'),
        ('http.listen = ["[::1]:1", ":80"]', '1: http.listen[1]: ":80" has no host; write'),
        ("http.listen = [9749]", "1: http.listen[0]: 9749 is a number; write a host and the numb"),
        ('http.listen = ["a:1", "b", "a:1"]', '1: http.listen[1]: "b" is not a valid address; wr'),
    ],
)
def test_faults_of_global_keys(head: str, expected: str) -> None:
    """Each names the key, the value and the cure; more faults may follow."""
    assert faults_in(f"{head}\n{DSM}{APP}")[0].startswith(expected)


@pytest.mark.parametrize(
    ("dsm", "expected"),
    [
        ('endpoint = "http://a.b"', "2: dsm.endpoint: http:// would send the credential"),
        ("endpoint = 5", "2: dsm.endpoint: 5 is a number; write https:// and the host, without a"),
        ("", "1: dsm.endpoint: missing; write the address of your DSM"),
        ('endpoint = "https://a.b"\ntimeout = "0s"', '3: dsm.timeout: "0s" is too short'),
        ('endpoint = "https://a.b"\nmax_in_flight = 0', "3: dsm.max_in_flight: 0 is out of range"),
        ('endpoint = "https://a.b"\nmax_in_flight = 1.0', "3: dsm.max_in_flight: 1.0 is a number;"),
        (
            'endpoint = "https://a.b"\nproxy = "http://u:hunter2@p"',
            "3: dsm.proxy: a password must not be in this file",
        ),
    ],
)
def test_faults_of_dsm_keys(dsm: str, expected: str) -> None:
    """They are reported once, however many apps inherit the value."""
    fault = fault_of(f"[dsm]\n{dsm}\n{APP}{APP.replace('payments', 'billing')}")
    assert fault.startswith(expected)
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("at = 0.1", "3: apps.payments.at: at = 0.1 with jitter = 0.1 may refresh a token as"),
        ('retry_max = "500ms"', '3: apps.payments.retry_max: "500ms" is shorter than retry_min'),
        ('endpoint = "x"', '3: apps.payments.endpoint: "x" is not a valid DSM URL'),
        ("att = 1", '3: apps.payments.att: unknown key; did you mean "at"?'),
        ("files = {}", "3: apps.payments.files: this is a table; write tables headed [[apps.paym"),
        ("files = [1]", "3: apps.payments.files[0]: 1 is a number; write a table headed"),
        ("[[apps.payments.files]]", "3: apps.payments.files[0].path: missing; write the path"),
        ("files = [{path = ''}]", "3: apps.payments.files[0].path: missing; write the path"),
        ("files = [{path = 5}]", "3: apps.payments.files[0].path: 5 is a number; write a path"),
        ("sockets = [{path = '~/a'}]", "3: apps.payments.sockets[0].path: ~ is not expanded"),
        ("access.users = [1000]", "3: apps.payments.access.users[0]: 1000 is a number; write a"),
        ("access.units = ['x']", '3: apps.payments.access.units[0]: "x" is not a valid unit name'),
        ("access = []", "3: apps.payments.access: this is a list; write a table headed [apps.pay"),
        ("hooks = [{}]", "3: apps.payments.hooks[0]: the hook does nothing; write a command, or a"),
        ("hooks = [{signal = 'HUP'}]", "3: apps.payments.hooks[0]: signal and pid_file need"),
        ("hooks = [{pid_file = 'x'}]", "3: apps.payments.hooks[0]: signal and pid_file need"),
        (
            "hooks = [{signal = 'HUPP', pid_file = 'x'}]",
            '3: apps.payments.hooks[0].signal: "HUPP" is not a valid signal; write the name of a',
        ),
        (
            "hooks = [{signal = 'SIGKILL', pid_file = 'x'}]",
            "3: apps.payments.hooks[0].signal: no process can handle SIGKILL; write one that it",
        ),
        (
            "hooks = [{signal = 'STOP', pid_file = 'x'}]",
            "3: apps.payments.hooks[0].signal: no process can handle STOP; write one that it",
        ),
        ("hooks = [{command = 'x'}]", '3: apps.payments.hooks[0].command: "x" is a string; write'),
        (
            "hooks = [{command = ['x'], signal = 'HUP', pid_file = 'x'}]",
            "3: apps.payments.hooks[0]: a hook has either a command or a signal",
        ),
        (
            "hooks = [{command = ['x'], timeout = '0s'}]",
            '3: apps.payments.hooks[0].timeout: "0s" is too short',
        ),
        (
            'app.api_key_file = "x"',
            '3: apps.payments.app: unknown table; an app name with a dot needs quotes: [apps."pay',
        ),
    ],
)
def test_faults_of_app_keys(body: str, expected: str) -> None:
    """They are reported at the app's key, even if it conflicts with an inherited value."""
    assert fault_of(f"{APP}{body}\n{DSM}").startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: apps: no apps are configured; write a table"),
        ("[apps]\n", "1: apps: no apps are configured; write a table"),
        ("apps = 5\n", "1: apps: this is not a table; write a table headed"),
        ("apps.payments = 5\n", "1: apps.payments: 5 is a number; write a table headed [apps.pay"),
        (APP.replace("payments", '"a b"'), '1: apps."a b": "a b" is not a valid app name'),
        (APP.replace("payments", "-a"), '1: apps.-a: "-a" is not a valid app name'),
        (APP.replace("payments", "a" * 65), f'1: apps.{"a" * 65}: "{"a" * 65}" is not a valid'),
    ],
)
def test_faults_of_the_apps_table(text: str, expected: str) -> None:
    """App names are used in URLs and metric labels."""
    assert fault_of(f"{text}{DSM}").startswith(expected)


def test_each_app_without_an_endpoint_is_reported_if_others_have_one() -> None:
    """If no app has one, it is missing from [dsm] instead."""
    other = APP.replace("payments", "billing") + 'endpoint = "https://eu.smartkey.io"\n'
    fault = fault_of(f"{other}{APP}")
    assert fault.startswith("4: apps.payments.endpoint: missing; write the address of the app's")


def test_an_invalid_dsm_table_is_not_also_a_missing_endpoint() -> None:
    """One mistake is one fault."""
    assert fault_of(f"dsm = 5\n{APP}") == "1: dsm: 5 is a number; write a table headed [dsm]"


def test_a_short_rejected_retry_is_for_loopback_hosts_only() -> None:
    """Tests with an emulator need it; with a real DSM it would cost the credential."""
    short = '[refresh]\nrejected_retry = "1s"\n'
    assert faults_in(f'{short}[dsm]\nendpoint = "http://127.0.0.1:1"\n{APP}') == ()
    assert "reset an app's secret" in fault_of(f"{short}{DSM}{APP}")


def test_an_invalid_value_is_not_compared_with_other_keys() -> None:
    """A default takes its place, which the operator never wrote."""
    text = "[refresh]\nat = 0.1\njitter = 'x'\nretry_min = '40s'\nretry_max = 40\n"
    faults = faults_in(f"{text}rejected_retry = 5\n{DSM}{APP}")
    assert [fault.split(": ")[1] for fault in faults] == [
        "refresh.jitter",
        "refresh.retry_max",
        "refresh.rejected_retry",
    ]


def test_an_inherited_value_is_not_judged_in_place_of_an_invalid_one() -> None:
    """It has a fault of its own where it is written."""
    text = f"[refresh]\nretry_min = '0s'\n{DSM}{APP}retry_min = 'x'\n"
    assert [fault.split(": ")[1] for fault in faults_in(text)] == [
        "refresh.retry_min",
        "apps.payments.retry_min",
    ]


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        ("", "1: apps.payments: no credential; write one of api_key_file, api_key_credential,"),
        ('api_key_file = ""', "2: apps.payments.api_key_file: no credential; write one of"),
        ("api_key_command = []", "2: apps.payments.api_key_command: no credential; write one of"),
        ("api_key_file = 5", "2: apps.payments.api_key_file: 5 is a number; write a path"),
        (
            'api_key_file = "a"\napi_key_env = "FORTANIX_API_KEY"',
            "3: apps.payments.api_key_env: api_key_file and api_key_env are set together; keep",
        ),
        (
            'app_id = "f47ac10b-58cc-4372-a567-0e02b2c3d479"',
            "2: apps.payments.app_id: missing: cert_file and key_file; a certificate app needs",
        ),
        ("app_id = '5'\ncert_file = 'a'\nkey_file = 'b'", '2: apps.payments.app_id: "5" is not a'),
        (
            "api_key_env = 'NOWHERE'",
            '2: apps.payments.api_key_env: the environment variable "NOWHERE" is',
        ),
        (
            'acct_id = "f47ac10b-58cc-4372-a567-0e02b2c3d479"\napp_name = "a"',
            "2: apps.payments.acct_id: missing: password_file; an LDAP app needs acct_id, app_name",
        ),
        (
            "acct_id = 'EU'\napp_name = 'a'\npassword_file = 'a'",
            '2: apps.payments.acct_id: "EU" is not a valid UUID; write the account\'s UUID, as DSM',
        ),
        (
            "app_name = ' '\npassword_file = 'a'\nacct_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'",
            '2: apps.payments.app_name: " " is not a valid name of an app in DSM; write the app\'s',
        ),
        ("api_key_env = '1'", '2: apps.payments.api_key_env: "1" is not a valid environment var'),
        ("api_key_env = 'PATH'", '2: apps.payments.api_key_env: the value of "PATH": it does not'),
        ("api_key_command = [5]", "2: apps.payments.api_key_command[0]: 5 is a number; write a st"),
        ("token_file = 'a'", "2: apps.payments.token_file: the newest session has to be saved"),
    ],
)
def test_faults_of_credentials(credential: str, expected: str) -> None:
    """An app needs exactly one complete credential to get a token."""
    assert fault_of(f"[apps.payments]\n{credential}\n{DSM}").startswith(expected)


def test_renewing_by_auth_is_refused_for_a_token_file() -> None:
    """It holds the token of a live session and nothing to log in with."""
    text = "[apps.payments]\ntoken_file = 'a'\nrenew = 'auth'\n"
    fault = fault_of(f"state_dir = '/var/lib/refresherd'\n{text}{DSM}")
    assert fault.startswith('4: apps.payments.renew: "auth" logs in each time, which a token_file')


def test_an_ldap_app_beside_an_api_key_is_refused() -> None:
    """Nobody could say which of them logs in."""
    ldap = "acct_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\napp_name = 'a'\npassword_file = 'a'\n"
    fault = fault_of(f"{DSM}{APP}{ldap}")
    assert fault.startswith("5: apps.payments.acct_id: api_key_env and acct_id are set together;")


def test_bind_to_is_refused_for_a_token_file() -> None:
    """Only the body of a login can bind a session, and such an app never logs in."""
    text = "[apps.payments]\ntoken_file = 'a'\nbind_to = '0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10'\n"
    fault = fault_of(f"state_dir = '/var/lib/refresherd'\n{text}{DSM}")
    assert fault.startswith("4: apps.payments.bind_to: an app with a token_file never logs in")


def test_bind_to_is_a_uuid() -> None:
    """DSM knows apps by UUID; a name would be refused at each login."""
    fault = fault_of(f"{DSM}{APP}bind_to = 'billing'\n")
    assert fault.startswith(
        '5: apps.payments.bind_to: "billing" is not a valid UUID; write the app'
    )


def test_a_secret_pasted_for_a_name_is_not_repeated() -> None:
    """Faults end up in logs and tickets."""
    pasted = API_KEY.rstrip("=")
    for key in ("api_key_env", "app_id", "acct_id", "bind_to"):
        faults = faults_in(f'[apps.payments]\n{key} = "{pasted}"\n{DSM}')
        assert faults
        assert pasted[:20] not in "".join(faults)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("path = '/run/a'", "path = '/run/b/../a'", "apps.payments.files[0].path has the same"),
        ("path = '/run/refresherd/api.sock'", "path = '/b'", "api.path has the same path"),
        ("path = 'ca.pem'", "path = '/b'", "dsm.ca_file is read from this path"),
        ("path = 'config.toml'", "path = '/b'", "this configuration is read from this path"),
        ("path = 'web.yml'", "path = '/b'", "http.web_config_file is read from this path"),
        ("path = 'app.pid'", "path = '/b'", "apps.payments.hooks[0].pid_file is read from this"),
    ],
)
def test_two_outputs_or_inputs_may_not_share_a_path(first: str, second: str, expected: str) -> None:
    """One token would overwrite the other, or the file that is read."""
    hook = "[[apps.payments.hooks]]\nsignal = 'HUP'\npid_file = 'app.pid'\n"
    text = (
        f"http.web_config_file = 'web.yml'\n{DSM}ca_file = 'ca.pem'\n{APP}{hook}"
        f"[[apps.payments.files]]\n{first}\n[[apps.payments.sockets]]\n{second}\n"
    )
    assert expected in fault_of(text)


@pytest.mark.parametrize("key", ["api_key_file", "token_file", "cert_file", "key_file", "ca_file"])
def test_an_output_may_not_overwrite_a_file_that_an_app_reads(key: str) -> None:
    """The credential would be gone after the first refresh."""
    files = "[[apps.payments.files]]\npath = '/etc/refresherd/x'\n"
    faults = faults_in(f"{DSM}{APP}{key} = 'x'\n{files}")
    assert any(f"apps.payments.{key} is read from this path" in fault for fault in faults)


def test_a_secret_under_an_unknown_key_is_not_repeated() -> None:
    """Faults end up in logs and tickets, whatever key the secret was written under."""
    for table in ("", "[dsm]\n", "[apps.payments.access]\n"):
        for key in ("api_key", "password", "x"):
            faults = faults_in(f'{table}{key} = "{API_KEY}"\n')
            assert any("secrets must not be in this file" in fault for fault in faults)
            assert API_KEY[:20] not in "".join(faults)


@pytest.mark.parametrize(
    ("key", "value", "table", "known", "expected"),
    [
        (
            "api_key",
            "x",
            ("apps", "a"),
            ("api_key_file",),
            "unknown key; secrets must not be in this",
        ),
        ("anything", TOKEN, (), ("at",), "unknown key; secrets must not be in this"),
        ("att", 1, ("refresh",), ("at", "jitter"), 'unknown key; did you mean "at"?'),
        ("at", 1, ("dsm",), ("proxy",), "unknown key here; it belongs in [refresh]"),
        (
            "app",
            {},
            ("apps", "my"),
            ("app_id",),
            'unknown table; an app name with a dot needs quotes: [apps."my.app"]',
        ),
        ("file", {}, ("apps", "my"), ("files",), 'unknown table; did you mean "files"?'),
        (
            "zzz",
            1,
            ("log",),
            ("level", "format"),
            "unknown key; the keys here are format and level",
        ),
        ("zzz", 1, (), tuple("abcdefghi"), "unknown key; `refresherd schema` lists"),
    ],
)
def test_an_unknown_key_comes_with_the_likeliest_cure(
    key: str, value: object, table: tuple[str, ...], known: tuple[str, ...], expected: str
) -> None:
    """A typo, the wrong table, an unquoted name, or a secret in the wrong place."""
    message = unknown_key(key, value, table, known)
    assert message.startswith(expected)
    assert TOKEN not in message


TABLES = (
    *(RootTable, DsmTable, RefreshTable, ApiTable, HttpTable),
    *(AppTable, AccessTable, FileTable, HookTable),
)

KEYS = sorted(
    {key for table in TABLES for key in keys(table)}
    | {"apps", "payments", "a b", "zzz", "endpiont"}
)

WORDS = st.sampled_from(
    [
        *("", "never", "90s", "9" * 400 + "d", "0600", "/run/a", "~", "https://a.b", "HUP", "\0"),
        *("http://u:hunter2@p:1", "raw", "reauth", "FORTANIX_API_KEY", "127.0.0.1:1", API_KEY),
        *("f47ac10b-58cc-4372-a567-0e02b2c3d479", "9" * 5000, "x.service"),
    ]
)

LEAVES = (
    WORDS
    | st.text(max_size=20)
    | st.booleans()
    | st.sampled_from([0, -1, 1, 384, 10**400, datetime(2026, 1, 1, tzinfo=UTC), date.max])
    | st.floats()
)

NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def shaped(*tables: type) -> st.SearchStrategy[dict[str, object]]:
    """Draw tables with known keys, so that rules see values."""
    known = sorted({key for table in tables for key in keys(table)})
    return st.dictionaries(st.sampled_from(known), NESTED, max_size=5)


NAMES = st.sampled_from(["payments", "a.b", "", "x y"])

DOCUMENTS = st.fixed_dictionaries(
    {"apps": st.dictionaries(NAMES, shaped(AppTable, DsmTable, RefreshTable), max_size=2)},
    optional={
        **dict.fromkeys(keys(RootTable), NESTED),
        "dsm": shaped(DsmTable),
        "refresh": shaped(RefreshTable),
    },
)


# Drawing nested documents is slow on a busy machine, which is no fault of the code.
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.lists(shaped(FileTable), max_size=2))
def test_any_document_is_a_configuration_or_has_faults(
    written: dict[str, object], files: list[dict[str, object]]
) -> None:
    """An exception here would keep every host of a fleet from reloading."""
    for app in written["apps"].values():  # type: ignore[attr-defined] # as the strategy draws it
        app.setdefault("files", files)
    settings = parse_settings(written, FILE, {"FORTANIX_API_KEY": API_KEY})
    faults = (*settings.faults, *check_rules(settings), *check_credentials(settings))
    lines = report(FILE, "", faults)
    assert "hunter2" not in "".join(lines[Kind.FAULT])
    if not faults:
        assert isinstance(build(settings, lines), Configuration)
