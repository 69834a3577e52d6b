"""From a document without faults to the values that the daemon is built from."""

from collections.abc import Hashable
from typing import TypeVar

from refresherd.config.configuration import Api, Configuration, Http, Log
from refresherd.config.credentials import credential_of
from refresherd.config.document import AppDocument, Document
from refresherd.config.environment import Environ, state_dir
from refresherd.config.tables import (
    AccessTable,
    DsmTable,
    FileTable,
    HookTable,
    RefreshTable,
    SocketTable,
)
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


def build(document: Document, environ: Environ, warnings: tuple[str, ...]) -> Configuration:
    """Return the configuration that a document without faults describes."""
    root, builder = document.root, _Builder(environ)
    return Configuration(
        path=document.file,
        apps=tuple(map(builder.app, document.apps)),
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
    """Equal values are one object: ten thousand apps mostly share theirs."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._shared: dict[Hashable, Hashable] = {}

    def app(self, app: AppDocument) -> App:
        return App(
            name=app.name,
            endpoint=self._one(_endpoint(app.dsm)),
            credential=credential_of(app, self._environ),
            timing=self._one(_timing(app.refresh)),
            files=tuple(map(self._file, app.own.files)),
            sockets=tuple(map(self._socket, app.own.sockets)),
            hooks=tuple(map(_hook, app.own.hooks)),
            access=self._one(_access(app.own.access)),
        )

    def _file(self, file: FileTable) -> FileSpec:
        return FileSpec(file.path.path, file.format, self._ownership(file), file.on_expiry)

    def _socket(self, socket: SocketTable) -> SocketSpec:
        return SocketSpec(socket.path.path, socket.format, self._ownership(socket))

    def _ownership(self, output: FileTable | SocketTable) -> Ownership:
        return self._one(Ownership(output.mode.bits, str(output.owner), str(output.group)))

    def _one(self, value: V) -> V:
        return self._shared.setdefault(value, value)  # type: ignore[return-value] # equal, so alike


def _endpoint(dsm: DsmTable) -> Endpoint:
    return Endpoint(
        url=dsm.endpoint.url,
        ca_file=dsm.ca_file.or_none,
        timeout=dsm.timeout.seconds,
        proxy=str(dsm.proxy),
        max_in_flight=dsm.max_in_flight,
    )


def _timing(refresh: RefreshTable) -> Timing:
    return Timing(
        at=refresh.at,
        jitter=refresh.jitter,
        retry_min=refresh.retry_min.seconds,
        retry_max=refresh.retry_max.seconds,
        rejected_retry=refresh.rejected_retry.seconds,
        renew=refresh.renew,
        session_check=refresh.session_check.seconds,
        terminate_after=refresh.terminate_after.seconds,
    )


def _access(access: AccessTable) -> Access:
    return Access(
        users=tuple(map(str, access.users)),
        groups=tuple(map(str, access.groups)),
        units=tuple(map(str, access.units)),
    )


def _hook(hook: HookTable) -> HookSpec:
    return HookSpec(
        command=tuple(map(str, hook.command)),
        signal=str(hook.signal).removeprefix("SIG"),
        pid_file=hook.pid_file.or_none,
        timeout=hook.timeout.seconds,
    )
