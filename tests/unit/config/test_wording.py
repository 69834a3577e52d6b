"""Whole faults, word for word: what is wrong with a value, and what the operator meant by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl
from refresherd.config.names import AppId, Principal, Signal, Unit, Variable
from refresherd.config.scalars import DurationOrNever, Mode, Scalar
from support.configurations import APP, DSM, faults_in
from support.fakes import API_KEY

ADDRESS = 'is not a valid address; write a host and the number of a port ("[::1]:9749" for IPv6)'
EVERYWHERE = (
    'has no host; write "127.0.0.1:9756" for this host only, or "0.0.0.0:9756" '
    '(IPv6: "[::]:9756") for all addresses'
)
URL = "is not a valid DSM URL; write https:// and the host, without a path"
DURATION = "is not a valid duration; write numbers with units (d, h, m, s, ms, the largest first)"
MODE = "is not a valid octal mode; write three octal digits in quotes, as for chmod"
SIGNAL = "is not a valid signal; write the name of a signal"
PASTED = (
    "this looks like the secret itself; put it in a file (chmod 0600) and write that file's path "
    "as api_key_file in place of this key"
)
PASTED_FOR_PATH = (
    "this looks like the secret itself; put it in a file (chmod 0600) and write that file's path "
    "as api_key_file"
)
VERIFIED = (
    "unknown key; DSM's certificate is always verified; for a private authority, write the path of "
    "its PEM file as ca_file"
)
SECRET = "unknown key; secrets must not be in this file: put the"
APART_FILE = "in a separate file (chmod 0600) and write its path as"
APART = "unknown table; write the settings of a single app under that app: [apps.NAME]"


def meant(text: str) -> str:
    """Return the end of a fault that suggests a text."""
    return f'; did you mean "{text}"?'


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("::1:9752", f'"::1:9752" {ADDRESS}{meant("[::1]:9752")}'),
        ("*:9756", f'"*:9756" {EVERYWHERE}'),
        (":9756", f'":9756" {EVERYWHERE}'),
        ("127.0.0.1", f'"127.0.0.1" {ADDRESS}{meant("127.0.0.1:9749")}'),
        ("::1", f'"::1" {ADDRESS}{meant("[::1]:9749")}'),
        ("9756", f'"9756" {ADDRESS}{meant("127.0.0.1:9756")}'),
        (" 127.0.0.1:9756 ", f'" 127.0.0.1:9756 " {ADDRESS}{meant("127.0.0.1:9756")}'),
        ("http://[::1]:9756/", f'"http://[::1]:9756/" {ADDRESS}{meant("[::1]:9756")}'),
        ("unix:/run/x.sock", f'"unix:/run/x.sock" {ADDRESS}, such as "127.0.0.1:9749"'),
        ("localhost:http", f'"localhost:http" {ADDRESS}, such as "127.0.0.1:9749"'),
        ("[fe80::1%lo]:1", "a zone (%) is not accepted here; write an address that needs none"),
        ("127.0.0.1:99999", "port 99999 is out of range; write a port up to 65535"),
    ],
)
def test_addresses_to_listen_on(written: str, fault: str) -> None:
    """IPv6 needs brackets, every address a port, and "everywhere" is a choice to make knowingly."""
    assert faults_in(f'http.listen = ["{written}"]\n{DSM}{APP}') == (f"1: http.listen[0]: {fault}",)


HERE = "https://amer.smartkey.io"


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (f" {HERE}", f'" {HERE}" {URL}{meant(HERE)}'),
        (f"{HERE}:", f'"{HERE}:" {URL}{meant(HERE)}'),
        (f"{HERE}//", f'"{HERE}//" {URL}{meant(HERE)}'),
        ("amer.smartkey.io", f'"amer.smartkey.io" {URL}{meant(HERE)}'),
        ("https:/amer.smartkey.io", f'"https:/amer.smartkey.io" {URL}{meant(HERE)}'),
        ("https//amer.smartkey.io", f'"https//amer.smartkey.io" {URL}{meant(HERE)}'),
        ("htps://amer.smartkey.io", f'"htps://amer.smartkey.io" {URL}{meant(HERE)}'),
        (
            "https://m\u00fcnchen.de",
            f'"https://m\u00fcnchen.de" {URL}{meant("https://xn--mnchen-3ya.de")}',
        ),
        ("https://::1", f'"https://::1" {URL}{meant("https://[::1]")}'),
        ("https://::1:443", f'"https://::1:443" {URL}{meant("https://[::1]:443")}'),
        ("https://fd00::1:2", f'"https://fd00::1:2" {URL}{meant("https://[fd00::1:2]")}'),
        ("https://amer smartkey.io", f'"https://amer smartkey.io" {URL}, such as "{HERE}"'),
        ("https://amer..smartkey.io", f'"https://amer..smartkey.io" {URL}, such as "{HERE}"'),
        ("https://a.b:0", "port 0 cannot be connected to; write a port from 1 to 65535"),
        ("https://a.b:99999", "port 99999 is out of range; write a port up to 65535"),
        (
            f"{HERE}/sys/v1",
            (
                "a path or query is not accepted here; write the host only, since /sys/v1 is "
                "added to it"
            ),
        ),
        (
            "https://u:p@a.b",
            "a user or password is not accepted here; remove it: credentials have their own keys",
        ),
        (API_KEY, f'"\u2026" {URL}, such as "{HERE}"'),
    ],
)
def test_endpoints(written: str, fault: str) -> None:
    """What people copy from a browser, a shell or another client's configuration."""
    assert faults_in(f'dsm.endpoint = "{written}"\n{APP}') == (f"1: dsm.endpoint: {fault}",)


@pytest.mark.parametrize(
    ("key", "written", "fault"),
    [
        ("dsm.timeout", "20", f'"20" {DURATION}{meant("20s")}'),
        ("dsm.timeout", "1 m", f'"1 m" {DURATION}{meant("1m")}'),
        ("dsm.timeout", "30m1h", f'"30m1h" {DURATION}{meant("1h30m")}'),
        ("dsm.timeout", "1h1h", f'"1h1h" {DURATION}, such as "20s"'),
        ("dsm.timeout", "-1s", f'"-1s" {DURATION}, such as "20s"'),
        ("dsm.timeout", "366d", 'longer than a year; write "365d" or less'),
        (
            "refresh.session_check",
            "off",
            (
                '"off" is not a valid duration or "never"; write numbers with units (d, h, m, s, '
                f'ms, the largest first), or "never"{meant("never")}'
            ),
        ),
        (
            "refresh.session_check",
            "soon",
            (
                '"soon" is not a valid duration or "never"; write numbers with units (d, h, m, s, '
                'ms, the largest first), or "never"'
            ),
        ),
        ("api.mode", "0o660", f'"0o660" {MODE}{meant("0660")}'),
        ("api.mode", "rw-rw----", f'"rw-rw----" {MODE}{meant("0660")}'),
        ("api.mode", "1777", f'"1777" {MODE}, such as "0666"'),
        (
            "log.level",
            "WARN",
            (
                '"WARN" is not one of the choices; write "debug", "info", "warning" or "error"'
                f"{meant('warning')}"
            ),
        ),
        (
            "shutdown",
            "KEEP",
            f'"KEEP" is not one of the choices; write "keep" or "terminate"{meant("keep")}',
        ),
    ],
)
def test_values_of_whole_tables(key: str, written: str, fault: str) -> None:
    """The units are listed, and a choice in capitals is recognised."""
    dsm = f'dsm.endpoint = "{HERE}"\n'
    assert faults_in(f'{key} = "{written}"\n{dsm}{APP}') == (f"1: {key}: {fault}",)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (
            'retry_max = "0s"',
            'retry_max: "0s" is shorter than retry_min ("1s"); raise it, or lower retry_min',
        ),
        (
            'retry_min = "40s"',
            'retry_min: "40s" is longer than retry_max ("30s"); lower retry_min or raise retry_max',
        ),
        (
            "at = 0.1",
            (
                "at: at = 0.1 with jitter = 0.1 may refresh a token as soon as it is issued; lower "
                "jitter to 0.05 or less, or raise at"
            ),
        ),
        (
            "jitter = 0.9",
            (
                "jitter: at = 0.5 with jitter = 0.9 may refresh a token as soon as it is issued; "
                "lower jitter to 0.45 or less, or raise at"
            ),
        ),
    ],
)
@pytest.mark.parametrize("table", ["refresh", "apps.payments"])
def test_the_key_that_is_written_is_blamed(table: str, written: str, fault: str) -> None:
    """Nobody finds a default in the file, so a fault at its key would be a riddle."""
    dsm = f'dsm.endpoint = "{HERE}"\n'
    app = 'apps.payments.api_key_env = "FORTANIX_API_KEY"\n'
    assert faults_in(f"{table}.{written}\n{dsm}{app}") == (f"1: {table}.{fault}",)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (f'api_key_env = "{API_KEY}"', f"api_key_env: {PASTED}"),
        (f'api_key_env = "{API_KEY.rstrip("=")}"', f"api_key_env: {PASTED}"),
        (f'api_key_credential = "{API_KEY}"', f"api_key_credential: {PASTED}"),
        (f'api_key_file = "{API_KEY}"', f"api_key_file: {PASTED_FOR_PATH}"),
        (
            'api_key_env = "${FORTANIX_API_KEY}"',
            (
                'api_key_env: "${FORTANIX_API_KEY}" is not a valid environment variable name; '
                f"write the variable's name, not its value{meant('FORTANIX_API_KEY')}"
            ),
        ),
        (
            f'api_key_command = ["echo", "{API_KEY}"]',
            (
                "api_key_command[1]: it holds an API key, which every user of this host could read "
                "in the list of processes; put the key in a file (chmod 0600) and write its path "
                "as api_key_file"
            ),
        ),
    ],
)
def test_a_key_in_the_wrong_place_is_recognised_and_not_repeated(written: str, fault: str) -> None:
    """The fault goes to logs and tickets, and says where the key belongs."""
    (found,) = faults_in(f"[apps.payments]\n{written}\n{DSM}")
    assert found == f"2: apps.payments.{fault}"
    assert API_KEY[:20] not in found


def test_a_key_in_place_of_an_outputs_path_makes_no_file_of_that_name() -> None:
    """Its name would be in listings, logs and metrics."""
    written = f'[[apps.payments.files]]\npath = "/run/{API_KEY}"\n'
    fault = f"4: apps.payments.files[0].path: {PASTED_FOR_PATH}"
    assert faults_in(f"{APP}{written}{DSM}")[:1] == (fault,)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("verify = false", f"verify: {VERIFIED}"),
        ("insecure = true", f"insecure: {VERIFIED}"),
        ("skip_verify = true", f"skip_verify: {VERIFIED}"),
        ("tls-verify = 'no'", f"tls-verify: {VERIFIED}"),
        (
            "ca_cert = 'x'",
            (
                "ca_cert: unknown key; write the path of the PEM file with DSM's certificate "
                "authority as ca_file"
            ),
        ),
        ("url = 'https://a'", "url: unknown key; write the address of DSM as endpoint"),
        ("token = 'x'", f"token: {SECRET} token {APART_FILE} token_file"),
        ("password = 'x'", f"password: {SECRET} password {APART_FILE} password_file"),
        ("api_key = 'x'", f"api_key: {SECRET} API key {APART_FILE} api_key_file"),
        (
            "interval = '5m'",
            (
                "interval: unknown key; a token is replaced after a share of its lifetime: write "
                "at, such as 0.5"
            ),
        ),
        (
            "[apps.payments.refresh]",
            "refresh: unknown table; write its keys under [apps.payments] itself",
        ),
        ("[apps.payments.dsm]", "dsm: unknown table; write its keys under [apps.payments] itself"),
        ("[apps.payments.file]", 'file: unknown table; did you mean "files"?'),
        (
            "[apps.payments.api]",
            "api: unknown table; it belongs at the top, as [api]: all apps share it",
        ),
        (
            "[apps.payments.files]",
            "files: this is a table; write tables headed [[apps.payments.files]]",
        ),
        (
            "[apps.payments.eu]",
            'eu: unknown table; an app name with a dot needs quotes: [apps."payments.eu"]',
        ),
    ],
)
def test_keys_and_tables_of_other_programs(written: str, fault: str) -> None:
    """People bring them along; each fault says what does the same here."""
    assert faults_in(f"{APP}{written}\n{DSM}") == (f"3: apps.payments.{fault}",)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("[app.orders]", 'app: unknown table; did you mean "apps"?'),
        ("[orders]", "orders: unknown table; an app's table is headed [apps.orders]"),
        ("[refresh.apps.orders]", f"refresh.apps: {APART}"),
        ("[dsm.orders]", f"dsm.orders: {APART}"),
        ("[[apps.orders]]", "apps.orders: this is a list; write a table headed [apps.orders]"),
        ("[http.tls]", "http.tls: unknown table; the keys here are listen and web_config_file"),
    ],
)
def test_tables_in_the_wrong_place(written: str, fault: str) -> None:
    """The headings of apps are what newcomers get wrong first."""
    assert faults_in(f"{DSM}{APP}{written}\n") == (f"5: {fault}",)


@pytest.mark.parametrize(
    ("signal", "fault"),
    [
        ("hup", f'"hup" {SIGNAL}{meant("HUP")}'),
        ("1", f'"1" {SIGNAL}{meant("HUP")}'),
        ("HUPP", f'"HUPP" {SIGNAL}{meant("HUP")}'),
    ],
)
def test_signals(signal: str, fault: str) -> None:
    """kill(1) takes numbers and small letters as well."""
    hook = f'hooks = [{{ signal = "{signal}", pid_file = "x" }}]'
    assert faults_in(f"{APP}{hook}\n{DSM}") == (f"3: apps.payments.hooks[0].signal: {fault}",)


@pytest.mark.parametrize(
    ("written", "suggested"),
    [
        *(("mode = 0o600", "0600"), ("mode = 0o644", "0644"), ("mode = 0o440", "0440")),
        *(("mode = 600", "0600"), ("mode = 640", "0640"), ("mode = 444", "0444")),
        ("owner = 1000", "1000"),
        ("group = 0", "0"),
    ],
)
def test_a_number_without_quotes_is_understood(written: str, suggested: str) -> None:
    """TOML reads 0o600 as 384, so operators know neither that number nor what to do about it."""
    (fault,) = faults_in(f'{DSM}{APP}[[apps.payments.files]]\npath = "t"\n{written}\n')
    assert fault.endswith(f'; did you mean "{suggested}"?')


def test_variables_in_paths_are_not_expanded() -> None:
    """A file of this name is unlikely, and its absence would say nothing of the cause."""
    for path in ("$HOME/token", "${RUNTIME_DIRECTORY}/token"):
        (fault,) = faults_in(f'{DSM}{APP}[[apps.payments.files]]\npath = "{path}"\n')
        assert fault.endswith("variables are not expanded; write the full path")
    assert faults_in(f'{DSM}{APP}[[apps.payments.files]]\npath = "a$b/$"\n') == ()


GUESSING: list[type[Scalar]] = [
    *(
        AppId,
        DurationOrNever,
        EndpointUrl,
        Listen,
        Mode,
        Principal,
        ProxyUrl,
        Signal,
        Unit,
        Variable,
    ),
]
PIECES = st.sampled_from(
    [*"0123456789abcdefmshd.:/[]@%*-_$ {}\\\n\0\u00e9\u200b", "https", "::1", "SIG", "rwx", "9749"]
)


@given(st.sampled_from(GUESSING), st.text() | st.lists(PIECES).map("".join))
def test_a_suggestion_is_valid(kind: type[Scalar], text: str) -> None:
    """A fault must not suggest what is refused next, nor end in a traceback."""
    suggestion = kind.suggestion(text)
    assert not suggestion or kind(suggestion) == suggestion


def test_too_long_a_duration_is_not_suggested() -> None:
    """Without its blank it would be refused for its length."""
    (fault,) = faults_in(f"{DSM}timeout = ' 99999h'\n{APP}")
    assert "did you mean" not in fault
