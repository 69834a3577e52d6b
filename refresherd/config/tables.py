"""The file as it is written: every table with its keys, their defaults and what they mean."""

from typing import Annotated

from msgspec import Meta, Struct

from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl
from refresherd.config.configuration import Level, LogFormat, Shutdown
from refresherd.config.scalars import (
    AppId,
    Argument,
    CredentialName,
    Duration,
    DurationOrNever,
    Location,
    Mode,
    Principal,
    Signal,
    Unit,
    Variable,
)
from refresherd.domain.model import Format, Method, OnExpiry
from refresherd.domain.readiness import Ready

APP_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Names stand in URLs and metric labels."""


def about(description: str, *examples: str | list[str]) -> Meta:
    """Return what editors and messages tell of a key; examples where the default is none."""
    return Meta(description=description, examples=list(examples) or None)


OwnerName = Annotated[
    Principal, about('Its owner: a name, or a number as a string; "" leaves it.', "payments")
]
GroupName = Annotated[
    Principal, about('Its group: a name, or a number as a string; "" leaves it.', "payments")
]
TokenMode = Annotated[Mode, about("Who may open it, as an octal string.")]
TokenFormat = Annotated[Format, about("What consumers read in it.")]


class Table(Struct, frozen=True, kw_only=True):
    """A table of the file. A value knows no line: faults name the key path."""


class DsmTable(Table, frozen=True, kw_only=True):
    """Where DSM is and how it is reached; each key may stand under an app as well."""

    endpoint: Annotated[
        EndpointUrl,
        about(
            "DSM's address, required here or under every app; http:// for loopback hosts only.",
            "https://amer.smartkey.io",
        ),
    ] = EndpointUrl()
    ca_file: Annotated[
        Location,
        about('PEM file of the authorities to trust; "" for the system\'s.', "dsm-ca.pem"),
    ] = Location()
    timeout: Annotated[Duration, about("How long one attempt may take, all in all.")] = Duration(
        "20s"
    )
    proxy: Annotated[
        ProxyUrl,
        about(
            'An HTTP proxy; "" for what the usual environment variables say.',
            "http://proxy.example.com:3128",
        ),
    ] = ProxyUrl()
    max_in_flight: Annotated[
        int, Meta(ge=1), about("How many attempts may be under way at once, per endpoint.")
    ] = 32


class RefreshTable(Table, frozen=True, kw_only=True):
    """When and how sessions are renewed; each key may stand under an app as well."""

    at: Annotated[
        float,
        Meta(ge=0.05, le=0.95),
        about("A token is replaced after this share of its lifetime."),
    ] = 0.5
    jitter: Annotated[
        float,
        Meta(ge=0),
        about("Up to this share of the lifetime earlier, so that a fleet is not in step."),
    ] = 0.1
    retry_min: Annotated[Duration, about("The shortest wait after a failed attempt.")] = Duration(
        "1s"
    )
    retry_max: Annotated[Duration, about("The longest wait after a failed attempt.")] = Duration(
        "30s"
    )
    rejected_retry: Annotated[
        Duration,
        about("The wait after DSM refused the credential: too many logins burn it."),
    ] = Duration("30m")
    renew: Annotated[
        Method,
        about(
            '"reauth": a new session from the live one; "auth": a new login each time; '
            '"keepalive": the same token is kept from idling out.'
        ),
    ] = Method.REAUTH
    session_check: Annotated[
        DurationOrNever,
        about("How often DSM is asked whether the session still lives."),
    ] = DurationOrNever("never")
    terminate_after: Annotated[
        DurationOrNever,
        about('How long a replaced session lives on; "never" leaves it to idle out.'),
    ] = DurationOrNever("60s")


class ApiTable(Table, frozen=True, kw_only=True):
    """The Unix socket that serves every app."""

    path: Annotated[Location, about('Where it is; "" for none.')] = Location(
        "/run/refresherd/api.sock"
    )
    mode: Annotated[Mode, about("Who may connect; who may read a token is `access`.")] = Mode(
        "0666"
    )
    group: GroupName = Principal()


class HttpTable(Table, frozen=True, kw_only=True):
    """Metrics, health and the status page; no tokens ever."""

    listen: Annotated[tuple[Listen, ...], about("Where to listen; [] for nowhere.")] = (
        Listen("127.0.0.1:9749"),
    )
    web_config_file: Annotated[
        Location, about("TLS and basic auth in exporter-toolkit's format.", "web-config.yml")
    ] = Location()


class LogTable(Table, frozen=True, kw_only=True):
    """What is logged, and how it looks."""

    level: Annotated[Level, about("The least severe lines that are written.")] = Level.INFO
    format: Annotated[
        LogFormat, about('"auto": console on a terminal, fields on systemd\'s journal, else json.')
    ] = LogFormat.AUTO


class AccessTable(Table, frozen=True, kw_only=True):
    """Who may read the app's token on the API socket, besides root and the daemon's user."""

    users: Annotated[
        tuple[Principal, ...], about("Users by name, or by number as a string.", ["payments"])
    ] = ()
    groups: Annotated[
        tuple[Principal, ...], about("Groups by name, or by number as a string.", ["payments"])
    ] = ()
    units: Annotated[
        tuple[Unit, ...], about("systemd units by their full name.", ["payments.service"])
    ] = ()


class FileTable(Table, frozen=True, kw_only=True):
    """A file that holds the newest token."""

    path: Annotated[Location, about("Where it is.", "/run/refresherd/payments.token")]
    format: TokenFormat = Format.RAW
    mode: TokenMode = Mode("0600")
    owner: OwnerName = Principal()
    group: GroupName = Principal()
    on_expiry: Annotated[
        OnExpiry,
        about("What becomes of it when the token expires; a token declared dead is removed."),
    ] = OnExpiry.KEEP


class SocketTable(Table, frozen=True, kw_only=True):
    """A Unix socket: connect, read the token, end of file."""

    path: Annotated[Location, about("Where it is.", "/run/refresherd/payments.sock")]
    format: TokenFormat = Format.RAW
    mode: TokenMode = Mode("0600")
    owner: OwnerName = Principal()
    group: GroupName = Principal()


class HookTable(Table, frozen=True, kw_only=True):
    """What is done after each new token: a command, or a signal to the process of a pid file."""

    command: Annotated[
        tuple[Argument, ...],
        about(
            "A program and its arguments; no shell, and no token among them.",
            ["systemctl", "reload", "payments.service"],
        ),
    ] = ()
    signal: Annotated[Signal, about("A signal, with pid_file.", "HUP")] = Signal()
    pid_file: Annotated[
        Location, about("The file that names the process.", "/run/payments.pid")
    ] = Location()
    timeout: Annotated[Duration, about("How long it may take.")] = Duration("10s")


class AppTable(Table, frozen=True, kw_only=True):
    """One DSM app: exactly one credential, and where its token goes."""

    api_key_file: Annotated[Location, about("An API key in a file.", "payments.key")] = Location()
    api_key_credential: Annotated[
        CredentialName, about("An API key in systemd's $CREDENTIALS_DIRECTORY.", "payments")
    ] = CredentialName()
    api_key_env: Annotated[
        Variable, about("An API key in this environment variable.", "FORTANIX_API_KEY")
    ] = Variable()
    api_key_command: Annotated[
        tuple[Argument, ...],
        about("An API key on the standard output of this command.", ["pass", "dsm"]),
    ] = ()
    token_file: Annotated[
        Location,
        about("Only a live bearer token: no API key on this host.", "bootstrap.token"),
    ] = Location()
    app_id: Annotated[
        AppId, about("A certificate app's UUID.", "f47ac10b-58cc-4372-a567-0e02b2c3d479")
    ] = AppId()
    cert_file: Annotated[Location, about("A certificate app's PEM certificate.", "app.crt")] = (
        Location()
    )
    key_file: Annotated[Location, about("A certificate app's PEM private key.", "app.pem")] = (
        Location()
    )
    access: Annotated[AccessTable, about("Who may read the token on the API socket.")] = (
        AccessTable()
    )
    files: Annotated[tuple[FileTable, ...], about("Files that hold the newest token.")] = ()
    sockets: Annotated[
        tuple[SocketTable, ...], about("Unix sockets that hand out the newest token.")
    ] = ()
    hooks: Annotated[tuple[HookTable, ...], about("What is done after each new token.")] = ()


class RootTable(Table, frozen=True, kw_only=True):
    """The configuration of refresherd: all but the apps, which take their defaults from here."""

    shutdown: Annotated[Shutdown, about('"terminate": end the sessions on stop.')] = Shutdown.KEEP
    ready: Annotated[
        Ready,
        about('When the service manager hears READY: "all" apps delivered, "any", or "started".'),
    ] = Ready.ALL
    state_dir: Annotated[
        Location,
        about(
            'What outlives a restart; "" for systemd\'s $STATE_DIRECTORY.', "/var/lib/refresherd"
        ),
    ] = Location()
    dsm: Annotated[DsmTable, about("Where DSM is and how it is reached.")] = DsmTable()
    refresh: Annotated[RefreshTable, about("When and how sessions are renewed.")] = RefreshTable()
    api: Annotated[ApiTable, about("The Unix socket that serves every app.")] = ApiTable()
    http: Annotated[HttpTable, about("Metrics, health and the status page.")] = HttpTable()
    log: Annotated[LogTable, about("What is logged, and how it looks.")] = LogTable()
