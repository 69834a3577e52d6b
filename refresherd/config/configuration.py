"""Loads and checks a configuration, and turns it into the values that the daemon is built from."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from refresherd.config.addresses import EndpointUrl
from refresherd.config.app_settings import AppTable, OutputTable
from refresherd.config.collisions import Collisions, ReadNames
from refresherd.config.credentials import check_credentials
from refresherd.config.findings import Finding, Kind
from refresherd.config.host_checks import HostReport, check_host
from refresherd.config.names import Signal
from refresherd.config.parse import AppSettings, Settings, parse_settings
from refresherd.config.rules import check_intentions, check_rules
from refresherd.config.scalars import Duration, DurationOrNever, Location, Scalar
from refresherd.config.settings import LogTable, Shutdown, keys
from refresherd.config.source import STANDARD_INPUT, read_text, read_toml, report
from refresherd.config.web_file import WEB, WebFile
from refresherd.domain import model
from refresherd.domain.errors import ConfigError
from refresherd.domain.readiness import Ready
from refresherd.host.path_identity import Resolver

NOTHING_READ: ReadNames = {}

V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Api:
    """The Unix socket that serves every app."""

    path: Path | None
    """None if the socket is turned off."""
    mode: int
    group: str


@dataclass(frozen=True, slots=True)
class Http:
    """Where metrics and health checks are served."""

    listen: tuple[tuple[str, int], ...]
    """Hosts and ports; port 0 means any free port."""
    web_config_file: Path | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration file without faults."""

    path: Path
    """The file's absolute path, or STANDARD_INPUT."""
    apps: tuple[model.App, ...]
    shutdown: Shutdown
    ready: Ready
    state_dir: Path | None
    api: Api
    http: Http
    log: LogTable
    troubles: tuple[str, ...]
    """What the host lacks for now, in lines of the form of faults."""
    warnings: tuple[str, ...]
    """What may not be meant, in lines of that form."""
    notes: tuple[str, ...]
    """What cannot be judged here, in lines of that form."""
    read: ReadNames
    """The names that no output may take, even if a link leads there later."""

    @property
    def output_paths(self) -> Iterator[str]:
        """The paths of all files and sockets of the apps."""
        for app in self.apps:
            yield from (str(file.path) for file in app.files)
            yield from (str(socket.path) for socket in app.sockets)


RULES = (check_rules, check_credentials, check_intentions)
"""Checks that look at nothing but the settings."""


def load(path: Path, environ: Mapping[str, str], *, offline: bool = False) -> Configuration:
    """Return the configuration in a file, checked against this host unless it is `offline`.

    The path STANDARD_INPUT means standard input. `environ` is the daemon's environment. Raises
    ConfigError if there are faults, with all other findings as well, each a line
    `FILE:LINE: key.path: what is wrong; how to correct it`, which repeats no secret. What this
    host lacks is no fault: it may come.
    """
    text = read_text(path)
    settings = parse_settings(read_toml(path, text), path.absolute(), {} if offline else environ)
    # By their spelling alone: only the checks of the host follow links.
    collisions = Collisions(settings, Resolver(looks=False))
    rules = chain.from_iterable(check(settings) for check in RULES)
    host = HostReport() if offline else check_host(settings)
    findings = [*settings.faults, *collisions.findings(), *rules, *host.findings]
    lines = _report(path, text, findings, host.web)
    if faults := lines[Kind.FAULT]:
        raise ConfigError(faults, (*lines[Kind.TROUBLE], *lines[Kind.WARNING], *lines[Kind.NOTE]))
    read = collisions.read if host.read is None else host.read
    configuration = build(settings, lines, read)
    return replace(configuration, path=path) if path == STANDARD_INPUT else configuration


def _report(
    path: Path, text: str, findings: list[Finding], web: WebFile | None
) -> Mapping[Kind, tuple[str, ...]]:
    """Return the findings as lines, those about keys of the web configuration with its lines."""
    if web is None:
        return report(path, text, findings)
    within = [one for one in findings if one.path[:2] == WEB and len(one.path) > len(WEB)]
    lines = report(path, text, [one for one in findings if one not in within])
    more = web.report(one._replace(path=one.path[len(WEB) :]) for one in within)
    return {kind: (*lines[kind], *more[kind]) for kind in Kind}


def build(
    settings: Settings, lines: Mapping[Kind, tuple[str, ...]], read: ReadNames = NOTHING_READ
) -> Configuration:
    """Return the configuration that settings without faults describe.

    `lines` are the other findings about them, `read` are the names of files that they read.
    """
    root, builder = settings.root, _Builder(settings.credentials_directory)
    return Configuration(
        path=settings.file,
        apps=tuple(map(builder.app, settings.apps)),
        shutdown=root.shutdown,
        ready=root.ready,
        state_dir=settings.state_dir,
        api=Api(root.api.path.or_none, root.api.mode.bits, str(root.api.group)),
        http=Http(
            tuple(listen.address for listen in root.http.listen),
            root.http.web_config_file.or_none,
        ),
        log=root.log,
        troubles=lines[Kind.TROUBLE],
        warnings=lines[Kind.WARNING],
        notes=lines[Kind.NOTE],
        read=read,
    )


class _Builder:
    """Makes equal values one object: ten thousand apps mostly share theirs."""

    def __init__(self, credentials_directory: Path | None) -> None:
        self._credentials_directory = credentials_directory
        self._shared: dict[Hashable, Hashable] = {}

    def app(self, app: AppSettings) -> model.App:
        dsm = _values(app.dsm)
        return model.App(
            name=app.name,
            endpoint=self._one(model.Endpoint(url=dsm.pop("endpoint"), **dsm)),
            credential=self._credential(app.own),
            timing=self._one(_timing(app)),
            files=tuple(
                model.FileSpec(file.path.path, file.format, self._ownership(file), file.on_expiry)
                for file in app.own.files
            ),
            sockets=tuple(
                model.SocketSpec(socket.path.path, socket.format, self._ownership(socket))
                for socket in app.own.sockets
            ),
            hooks=tuple(model.HookSpec(**_values(hook)) for hook in app.own.hooks),
            access=self._one(model.Access(**_values(app.own.access))),
            bind_to=str(app.own.bind_to),
        )

    def _credential(self, own: AppTable) -> model.Credential:  # noqa: PLR0911 -- one for each kind
        directory = self._credentials_directory
        if own.api_key_file:
            return model.ApiKeyFile(own.api_key_file.path)
        if own.api_key_credential:
            return model.SystemdCredential(str(own.api_key_credential), directory)
        if own.api_key_env:
            return model.ApiKeyEnv(str(own.api_key_env))
        if own.token_file:
            return model.TokenFile(own.token_file.path)
        if own.password_file:
            return model.LdapApp(str(own.acct_id), str(own.app_name), own.password_file.path)
        if own.app_id:
            return model.Certificate(str(own.app_id), own.cert_file.path, own.key_file.path)
        return model.ApiKeyCommand(tuple(map(str, own.api_key_command)))

    def _ownership(self, output: OutputTable) -> model.Ownership:
        return self._one(model.Ownership(output.mode.bits, str(output.owner), str(output.group)))

    def _one(self, value: V) -> V:
        return self._shared.setdefault(value, value)  # type: ignore[return-value] # equal values are alike


def _timing(app: AppSettings) -> model.Timing:
    """Return an app's timing.

    DSM's API description gives a reauth no body, and does not say whether the new session is bound
    as the old one was. So sessions with `bind_to` are renewed by a login, unless the app says so.
    """
    timing = model.Timing(**_values(app.refresh))
    if app.own.bind_to and timing.renew is model.Method.REAUTH and "renew" not in app.written:
        return replace(timing, renew=model.Method.AUTH)
    return timing


def _values(table: Struct) -> dict[str, Any]:
    """Return the values of a table by key, as arguments for the domain's type of the same name."""
    return {key: _plain(getattr(table, key)) for key in keys(type(table))}


def _plain(value: object) -> object:  # noqa: PLR0911 -- one for each kind of value
    match value:
        case Duration() | DurationOrNever():
            return value.seconds
        case Location():
            return value.or_none
        case EndpointUrl():
            return value.url
        case Signal():
            return value.removeprefix("SIG")
        case tuple():
            return tuple(map(_plain, value))
        case Scalar():
            return str(value)
        case _:
            return value
