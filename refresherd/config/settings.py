"""The tables for the whole daemon: every key with its type, its default and its meaning.

A plain string next to a type, and the docstring of a table, are what `refresherd schema` and the
configuration reference say about it.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields

from refresherd.config import names, scalars
from refresherd.config.addresses import EndpointUrl, Listen, ProxyUrl
from refresherd.domain.model import Method
from refresherd.domain.readiness import Ready

Group = Annotated[
    names.Principal,
    'The owning group: a name, or a gid as a string. "": the daemon\'s own group, or the '
    "directory's if that is setgid.",
    Meta(examples=["payments"]),
]


class Shutdown(StrEnum):
    """What happens to sessions when the daemon stops."""

    KEEP = "keep"
    TERMINATE = "terminate"


class Level(StrEnum):
    """The lowest severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


@cache
def keys(table: type[Struct]) -> Mapping[str, FieldInfo]:
    """Return a table's keys."""
    return {field.name: field for field in fields(table)}


def parts(annotated: object) -> tuple[Any, Meta, str]:
    """Return a key's type, its limits and examples, and what it means: "" for a table."""
    target, *extras = get_args(annotated) if get_origin(annotated) is Annotated else (annotated,)
    limits = next((extra for extra in extras if isinstance(extra, Meta)), Meta())
    return target, limits, next((extra for extra in extras if isinstance(extra, str)), "")


class DsmTable(Struct, frozen=True, kw_only=True):
    """How to reach DSM. Each key may be set for a single app as well."""

    endpoint: Annotated[
        EndpointUrl,
        "The address of DSM: https:// and the host. Required here or in every app. http:// is "
        "accepted for loopback hosts only.",
        Meta(examples=["https://amer.smartkey.io"]),
    ] = EndpointUrl()
    ca_file: Annotated[
        scalars.InputFile,
        'A PEM file with the certificate authorities to trust. "" trusts the authorities of the'
        " system.",
        Meta(examples=["dsm-ca.pem"]),
    ] = scalars.InputFile()
    timeout: Annotated[scalars.Duration, "How long one attempt may take in total."] = (
        scalars.Duration("20s")
    )
    proxy: Annotated[
        ProxyUrl,
        'An HTTP proxy. "" follows the environment: HTTPS_PROXY, HTTP_PROXY and NO_PROXY. A '
        "proxy that needs a password can only be set there.",
        Meta(examples=["http://proxy.example.com:3128"]),
    ] = ProxyUrl()
    max_in_flight: Annotated[
        int, Meta(ge=1), "How many attempts at the endpoint may be under way at the same time."
    ] = 32


class RefreshTable(Struct, frozen=True, kw_only=True):
    """When and how sessions are renewed. Each key may be set for a single app as well."""

    at: Annotated[
        float,
        Meta(ge=0.05, le=0.95),
        "The share of a token's lifetime after which it is replaced; never later than after a "
        "day. What then remains of the lifetime is the outage budget: how long DSM may be "
        "unreachable before consumers notice.",
    ] = 0.5
    jitter: Annotated[
        float,
        Meta(ge=0),
        "Each refresh is moved earlier by a random share of the lifetime, at most this one, so "
        "that many hosts do not refresh at the same moment. At most `at` minus 0.05.",
    ] = 0.1
    retry_min: Annotated[
        scalars.Duration,
        'The shortest wait after a failed attempt, "100ms" or more.',
    ] = scalars.Duration("1s")
    retry_max: Annotated[
        scalars.Duration, "The longest wait after a failed attempt, at least `retry_min`."
    ] = scalars.Duration("30s")
    rejected_retry: Annotated[
        scalars.Duration,
        "The wait after DSM has refused the credential: in FIPS mode DSM resets an app's secret"
        ' after 100 refused logins in 24 hours. "29m" or more; less is accepted for an endpoint'
        " on a loopback host only. A changed key, a reload or `refresherd refresh` ends the wait.",
    ] = scalars.Duration("30m")
    renew: Annotated[
        Method,
        'How a session is renewed. "reauth": the live session opens a new one. "auth": the '
        'credential logs in each time, for where DSM does not allow reauth. "keepalive": the '
        "same token is kept alive, for consumers that cannot read it again and for transient "
        "keys.",
    ] = Method.REAUTH
    session_check: Annotated[
        scalars.DurationOrNever,
        "How often to ask DSM whether the session is still alive, to replace a session that "
        'somebody else has ended before its next refresh: "1s" or more, or "never".',
    ] = scalars.DurationOrNever("never")
    terminate_after: Annotated[
        scalars.DurationOrNever,
        "How long a replaced session stays alive before it is terminated, never beyond its "
        'expiry. "never" lets DSM end it when it is idle.',
    ] = scalars.DurationOrNever("60s")


class ApiTable(Struct, frozen=True, kw_only=True):
    """The Unix socket that serves status and tokens of every app. Changes need a restart."""

    path: Annotated[scalars.OutputPath, 'The path of the socket. "" turns it off.'] = (
        scalars.OutputPath("/run/refresherd/api.sock")
    )
    mode: Annotated[
        scalars.Mode,
        "Who may connect; in a socket unit, SocketMode= says so. Who may read a token is set by "
        "each app's `access`.",
    ] = scalars.Mode("0666")
    group: Group = names.Principal()


class HttpTable(Struct, frozen=True, kw_only=True):
    """Metrics, health checks and the status page, never tokens. Changes need a restart."""

    listen: Annotated[
        tuple[Listen, ...],
        'The addresses to listen on: "host:port" or "[::1]:port". [] turns it off.',
    ] = (Listen("127.0.0.1:9749"),)
    web_config_file: Annotated[
        scalars.InputFile,
        "TLS, passwords and response headers, in the format of Prometheus' exporter-toolkit; it "
        "needs the extra `[web]`. The file itself is read again when it changes.",
        Meta(examples=["web-config.yml"]),
    ] = scalars.InputFile()


class LogTable(Struct, frozen=True, kw_only=True):
    """What is logged to standard error, and how. Changes need a restart."""

    level: Annotated[Level, "The lowest severity that is logged."] = Level.INFO
    format: Annotated[
        LogFormat,
        '"console" is for people, "json" for log collectors. "auto" chooses console on a '
        "terminal, entries with fields in systemd's journal, and json otherwise.",
    ] = LogFormat.AUTO


class RootTable(Struct, frozen=True, kw_only=True):
    """The configuration of refresherd."""

    shutdown: Annotated[
        Shutdown,
        'What happens to sessions when the daemon stops: "keep" lets them idle out, "terminate"'
        " ends them, except those of apps with a `token_file`, which could not get a new one.",
    ] = Shutdown.KEEP
    ready: Annotated[
        Ready,
        'When the daemon reports to the service manager that it is ready. "settled": every app\'s '
        "token is delivered, or DSM refused its credential, or it has been failing for 30 seconds; "
        '"all": every app\'s token is delivered; "any": at least one is; "started": at once. A '
        "change needs a restart.",
    ] = Ready.SETTLED
    state_dir: Annotated[
        scalars.Location,
        "The directory in which sessions, refused logins and the generations of tokens are saved "
        "for the next start; no two daemons may share one, nobody else may write to it, and no "
        'output may be in it. It is created if only its last part is missing. "" uses '
        "systemd's $STATE_DIRECTORY (StateDirectory= in the unit). A change needs a restart.",
        Meta(examples=["/var/lib/refresherd"]),
    ] = scalars.Location()
    dsm: DsmTable = DsmTable()
    refresh: RefreshTable = RefreshTable()
    api: ApiTable = ApiTable()
    http: HttpTable = HttpTable()
    log: LogTable = LogTable()
