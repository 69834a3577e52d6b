"""A file without faults becomes the values that the daemon is built from."""

from pathlib import Path

import pytest

from refresherd.config import Api, LogTable, Shutdown, describe
from refresherd.config.configuration import Http
from refresherd.config.settings import Level, LogFormat
from refresherd.domain.model import (
    Access,
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    Certificate,
    Credential,
    Endpoint,
    FileSpec,
    Format,
    HookSpec,
    LdapApp,
    Method,
    OnExpiry,
    Ownership,
    SocketSpec,
    SystemdCredential,
    TokenFile,
)
from refresherd.domain.readiness import Ready
from support.configurations import APP, DSM, ENVIRON, FILE, configuration_in

BASE = FILE.parent


def test_keys_that_are_not_written_have_their_defaults() -> None:
    """The defaults of the file and of the domain are the same."""
    configuration = configuration_in(f"{DSM}{APP}")
    (app,) = configuration.apps
    assert configuration.path == FILE
    assert configuration.shutdown is Shutdown.KEEP
    assert configuration.ready is Ready.SETTLED
    assert configuration.state_dir is None
    assert configuration.api == Api(Path("/run/refresherd/api.sock"), 0o666, "")
    assert configuration.http == Http((("127.0.0.1", 9749),), None)
    assert configuration.log == LogTable(level=Level.INFO, format=LogFormat.AUTO)
    assert app.endpoint == Endpoint("https://amer.smartkey.io")
    assert app == type(app)("payments", app.endpoint, ApiKeyEnv("FORTANIX_API_KEY"))


def test_every_key_reaches_the_domain() -> None:
    """A key that is accepted and has no effect misleads worse than a fault."""
    configuration = configuration_in(
        "shutdown = 'terminate'\nready = 'started'\nstate_dir = 'state'\n"
        "dsm = {endpoint = 'http://[::1]:1/', ca_file = 'ca.pem', timeout = '5s', "
        "proxy = 'http://p:1', max_in_flight = 2}\n"
        "refresh = {at = 0.8, jitter = 0, retry_min = '2s', retry_max = '4s', "
        "rejected_retry = '3s', renew = 'auth', session_check = '1m', terminate_after = 'never'}\n"
        "api = {path = '', mode = '0660', group = 'wheel'}\n"
        "http = {listen = ['[::1]:0', 'a:1'], web_config_file = 'web.yml'}\n"
        "log = {level = 'debug', format = 'console'}\n"
        "[apps.payments]\napi_key_file = 'payments.key'\n"
        "[[apps.payments.files]]\npath = 'out/token'\nformat = 'sdkms-cli'\nmode = '0640'\n"
        "owner = '1000'\ngroup = 'users'\non_expiry = 'remove'\n"
        "[[apps.payments.sockets]]\npath = 'out/sock'\nformat = 'json'\nmode = '0640'\n"
        "owner = '1000'\ngroup = 'users'\n"
        "[apps.payments.access]\nusers = ['a']\ngroups = ['7']\nunits = ['b.service']\n"
        "[[apps.payments.hooks]]\ncommand = ['true', 'x']\ntimeout = '3s'\n"
        "[[apps.payments.hooks]]\nsignal = 'SIGHUP'\npid_file = 'a.pid'\n"
    )
    (app,) = configuration.apps
    timing = app.timing
    assert (configuration.shutdown, configuration.ready) == (Shutdown.TERMINATE, Ready.STARTED)
    assert configuration.state_dir == BASE / "state"
    assert configuration.api == Api(None, 0o660, "wheel")
    assert configuration.http == Http((("::1", 0), ("a", 1)), BASE / "web.yml")
    assert configuration.log == LogTable(level=Level.DEBUG, format=LogFormat.CONSOLE)
    assert app.endpoint == Endpoint("http://[::1]:1", BASE / "ca.pem", 5.0, "http://p:1", 2)
    assert (timing.at, timing.jitter, timing.retry_min, timing.retry_max) == (0.8, 0, 2, 4)
    assert (timing.rejected_retry, timing.renew) == (3, Method.AUTH)
    assert (timing.session_check, timing.terminate_after) == (60, None)
    ownership = Ownership(0o640, "1000", "users")
    assert app.files == (
        FileSpec(BASE / "out/token", Format.SDKMS_CLI, ownership, OnExpiry.REMOVE),
    )
    assert app.sockets == (SocketSpec(BASE / "out/sock", Format.JSON, ownership),)
    assert app.access == Access(("a",), ("7",), ("b.service",))
    assert app.hooks == (
        HookSpec(command=("true", "x"), timeout=3.0),
        HookSpec(signal="HUP", pid_file=BASE / "a.pid"),
    )


def test_an_app_may_override_dsm_and_refresh() -> None:
    """Keys that it does not set are inherited."""
    own = "endpoint = 'https://eu.smartkey.io'\nat = 0.6\n"
    billing = APP.replace("payments", "billing")
    configuration = configuration_in(
        f"refresh.retry_max = '9s'\n{DSM}timeout = '9s'\n{APP}{own}{billing}"
    )
    first, second = configuration.apps
    assert first.endpoint == Endpoint("https://eu.smartkey.io", timeout=9.0)
    assert (first.timing.at, first.timing.retry_max) == (0.6, 9)
    assert second.endpoint == Endpoint("https://amer.smartkey.io", timeout=9.0)
    assert (second.timing.at, second.timing.retry_max) == (0.5, 9)


def test_equal_values_are_shared() -> None:
    """Ten thousand apps mostly have the same endpoint and timing."""
    own = "endpoint = 'https://amer.smartkey.io/'\nat = 0.5\n"
    output = "[[apps.NAME.files]]\npath = 'NAME'\n"
    apps = [
        APP.replace("payments", name) + own + output.replace("NAME", name)
        for name in ("a", "b", "c")
    ]
    first, second, third = configuration_in(DSM + "".join(apps)).apps
    assert first.endpoint is second.endpoint is third.endpoint
    assert first.timing is second.timing is third.timing
    assert first.files[0].ownership is third.files[0].ownership


ACCOUNT = "5cbd5b4a-4f0d-4d3e-8a51-2f5a0d0f3c77"

TARGET = "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"


@pytest.mark.parametrize(
    ("written", "credential", "message"),
    [
        ("api_key_file = '../a.key'", ApiKeyFile(Path("/etc/a.key")), "an API key in a file"),
        (
            "api_key_credential = 'a'",
            SystemdCredential("a", Path("/run/c")),
            "an API key from systemd",
        ),
        ("api_key_env = 'FORTANIX_API_KEY'", ApiKeyEnv("FORTANIX_API_KEY"), "in the environment"),
        ("api_key_command = ['pass', 'dsm']", ApiKeyCommand(("pass", "dsm")), "from a command"),
        ("token_file = 'a.token'", TokenFile(BASE / "a.token"), "a bearer token in a file"),
        (
            "app_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\ncert_file = 'c'\nkey_file = 'k'",
            Certificate("f47ac10b-58cc-4372-a567-0e02b2c3d479", BASE / "c", BASE / "k"),
            "a certificate",
        ),
        (
            f"acct_id = '{ACCOUNT}'\napp_name = 'Payments, EU'\npassword_file = 'p'",
            LdapApp(ACCOUNT, "Payments, EU", BASE / "p"),
            "an LDAP app's password in a file",
        ),
    ],
)
def test_every_kind_of_credential(written: str, credential: Credential, message: str) -> None:
    """Paths are relative to the file, except for systemd's credentials."""
    environ = {**ENVIRON, "CREDENTIALS_DIRECTORY": "/run/c", "STATE_DIRECTORY": "/var/lib/r"}
    configuration = configuration_in(f"{DSM}[apps.payments]\n{written}\n", environ)
    assert configuration.apps[0].credential == credential
    assert message in next(describe(configuration))


def test_the_state_directory_is_systemds_unless_the_file_sets_one() -> None:
    """If systemd has made several directories, it is the first."""
    environ = {**ENVIRON, "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    assert configuration_in(f"{DSM}{APP}", environ).state_dir == Path("/var/lib/a")
    assert configuration_in(f"state_dir = '/srv'\n{DSM}{APP}", environ).state_dir == Path("/srv")


@pytest.mark.parametrize(
    ("inherited", "own", "renew"),
    [
        ("", "", Method.AUTH),
        ("reauth", "", Method.AUTH),
        ("", "reauth", Method.REAUTH),
        ("keepalive", "", Method.KEEPALIVE),
        ("", "keepalive", Method.KEEPALIVE),
    ],
)
def test_a_bound_session_is_renewed_by_a_login_unless_the_app_says_otherwise(
    inherited: str, own: str, renew: Method
) -> None:
    """A reauth has no body to name the binding in, and DSM does not say that it keeps one."""
    text = f'bind_to = "{TARGET}"\n' + (f'renew = "{own}"\n' if own else "")
    refresh = f'[refresh]\nrenew = "{inherited}"\n' if inherited else ""
    configuration = configuration_in(f"{DSM}{refresh}{APP}{text}{APP.replace('payments', 'b')}")
    bound, other = configuration.apps
    assert (bound.bind_to, bound.timing.renew) == (TARGET, renew)
    assert (other.bind_to, other.timing.renew) == ("", Method(inherited or "reauth"))
    assert f"  sessions bound to app {TARGET}" in list(describe(configuration))
