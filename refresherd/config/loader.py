"""A configuration file becomes a Configuration: parse it, check it, build the daemon's values."""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from refresherd.config.addresses import EndpointUrl
from refresherd.config.app_settings import FileTable, SocketTable
from refresherd.config.configuration import Api, Configuration, Http, Log
from refresherd.config.credentials import Environ, check_credentials, credential_of, state_dir
from refresherd.config.findings import Finding
from refresherd.config.input_files import check_hook_programs, check_input_files
from refresherd.config.output_paths import check_accounts, check_output_paths
from refresherd.config.parse import AppSettings, Settings, parse_settings
from refresherd.config.rules import check_intentions, check_rules
from refresherd.config.scalars import Duration, DurationOrNever, Location, Scalar, Signal
from refresherd.config.settings import keys
from refresherd.config.source import read_text, read_toml, report
from refresherd.domain.errors import ConfigError
from refresherd.domain.model import (
    Access,
    App,
    Endpoint,
    FileSpec,
    HookSpec,
    Ownership,
    SocketSpec,
    Timing,
)

V = TypeVar("V", bound=Hashable)


def load(path: Path, environ: Environ) -> Configuration:
    """Return the configuration in a file, checked against this machine.

    `environ` is the daemon's environment. Raises ConfigError with all the faults, each a line
    `FILE:LINE: key.path: what is wrong; how to correct it`, which repeats no secret.
    """
    text = read_text(path)
    settings = parse_settings(read_toml(path, text), path.absolute())
    if faults := report(path, text, faults_of(settings, environ)):
        raise ConfigError(faults)
    return build(settings, environ, report(path, text, warnings_about(settings, environ)))


def faults_of(settings: Settings, environ: Environ) -> Iterator[Finding]:
    """Yield every fault of the file, and everything that it needs and this machine lacks."""
    yield from settings.faults
    yield from check_rules(settings)
    yield from check_credentials(settings, environ)
    yield from check_input_files(settings, environ)
    yield from check_output_paths(settings, environ)
    yield from check_accounts(settings)


def warnings_about(settings: Settings, environ: Environ) -> Iterator[Finding]:
    """Yield what deserves a warning in settings without faults."""
    yield from check_intentions(settings)
    yield from check_hook_programs(settings, environ)


def build(settings: Settings, environ: Environ, warnings: tuple[str, ...]) -> Configuration:
    """Return the configuration that settings without faults describe."""
    root, builder = settings.root, _Builder(environ)
    return Configuration(
        path=settings.file,
        apps=tuple(map(builder.app, settings.apps)),
        shutdown=root.shutdown,
        ready=root.ready,
        state_dir=state_dir(root, environ),
        api=Api(root.api.path.or_none, root.api.mode.bits, str(root.api.group)),
        http=Http(
            tuple((listen.address.host, listen.address.port) for listen in root.http.listen),
            root.http.web_config_file.or_none,
        ),
        log=Log(root.log.level, root.log.format),
        warnings=warnings,
    )


class _Builder:
    """Makes equal values one object: ten thousand apps mostly share theirs."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._shared: dict[Hashable, Hashable] = {}

    def app(self, app: AppSettings) -> App:
        dsm = _values(app.dsm)
        return App(
            name=app.name,
            endpoint=self._one(Endpoint(url=dsm.pop("endpoint"), **dsm)),
            credential=credential_of(app, self._environ),
            timing=self._one(Timing(**_values(app.refresh))),
            files=tuple(
                FileSpec(file.path.path, file.format, self._ownership(file), file.on_expiry)
                for file in app.own.files
            ),
            sockets=tuple(
                SocketSpec(socket.path.path, socket.format, self._ownership(socket))
                for socket in app.own.sockets
            ),
            hooks=tuple(HookSpec(**_values(hook)) for hook in app.own.hooks),
            access=self._one(Access(**_values(app.own.access))),
        )

    def _ownership(self, output: FileTable | SocketTable) -> Ownership:
        return self._one(Ownership(output.mode.bits, str(output.owner), str(output.group)))

    def _one(self, value: V) -> V:
        return self._shared.setdefault(value, value)  # type: ignore[return-value] # equal, so alike


def _values(table: Struct) -> dict[str, Any]:
    """Return what the keys of a table mean; the domain's values have attributes of their names."""
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
