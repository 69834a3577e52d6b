"""What one app is kept with: its way to DSM, its outputs and its hooks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from refresherd.domain.model import App
from refresherd.engine.ports import (
    Chain,
    CredentialSource,
    Hook,
    Logins,
    Output,
    SessionClient,
    Sessions,
)


@dataclass(frozen=True, slots=True)
class AppContext:
    """The ports that belong to one app.

    Apps of one endpoint share its gates: `attempts` admits `max_in_flight` at once,
    `endings` a few, so that ending old sessions never delays getting new ones. `chain` is there
    for an app that has no key, and where there is a place for state; `sessions` for one that has
    a key, where somebody keeps them over a restart.
    """

    client: SessionClient
    credential: CredentialSource
    attempts: asyncio.Semaphore
    endings: asyncio.Semaphore
    outputs: tuple[Output, ...] = ()
    hooks: tuple[Hook, ...] = ()
    chain: Chain | None = None
    sessions: Sessions | None = None
    logins: Logins | None = None


MakeAppContext = Callable[[App], AppContext]
