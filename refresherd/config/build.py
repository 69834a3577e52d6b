"""From a document without faults to the values that the daemon is built from."""

from collections.abc import Hashable
from typing import TypeVar

from refresherd.config.configuration import Api, Configuration, Http, Log
from refresherd.config.credentials import credential_of
from refresherd.config.document import AppDocument, Document
from refresherd.config.environment import Environ, state_dir
from refresherd.config.tables import DsmTable, FileTable, RefreshTable
from refresherd.model import App, Endpoint, FileSpec, Ownership, Timing

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
        )

    def _file(self, file: FileTable) -> FileSpec:
        ownership = Ownership(file.mode.bits, str(file.owner), str(file.group))
        return FileSpec(file.path.path, file.format, self._one(ownership), file.on_expiry)

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
