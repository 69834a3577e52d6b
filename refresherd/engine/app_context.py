"""What one app is kept with: its way to DSM, its outputs and its hooks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from refresherd.domain.model import App
from refresherd.engine.ports import (
    CredentialSource,
    Hook,
    Logins,
    Output,
    SessionClient,
    SessionStore,
)


@dataclass(frozen=True, slots=True)
class AppContext:
    """The ports that belong to one app.

    Apps of one endpoint share its gates: `attempts` admits `max_in_flight` at once,
    `endings` a few, so that ending old sessions never delays getting new ones. `session_store` is
    there where the app's sessions outlive the process.
    """

    client: SessionClient
    credential: CredentialSource
    attempts: asyncio.Semaphore
    endings: asyncio.Semaphore
    outputs: tuple[Output, ...] = ()
    hooks: tuple[Hook, ...] = ()
    session_store: SessionStore | None = None
    logins: Logins | None = None


MakeAppContext = Callable[[App], AppContext]
