"""One app through a life of trouble: all events that the engine reports, for the metrics."""

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

from multidict import CIMultiDict

from refresherd.adapters.dsm.answers import Exchange, Operation, acknowledged, granted
from refresherd.adapters.dsm.network_errors import PROGRESS
from refresherd.domain.errors import HookError, OutputError, Reason, Retryable
from refresherd.domain.events import Event
from refresherd.domain.model import App, Certificate, Grant, LdapApp, Secret, TokenFile
from refresherd.engine.app_runner import AppRunner
from support.fake_app import FakeApp, running
from support.fake_token_app import FakeTokenApp
from support.fakes import ENTITY_ID, FakeOutput

T = TypeVar("T")

PATH = Path("/run/payments.token")

LIFETIME = 600
"""Seconds."""

GRANT = json.dumps(
    {
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "access_token": "%s",
        "entity_id": ENTITY_ID,
    }
)
OK = 200, GRANT
SECOND_FACTOR = 200, GRANT[:-1] + ', "allowed_mfa_methods": [{"type": "U2f"}]}'

Answer = tuple[int, str] | Reason
"""Status and body, or why there is none."""

ANSWERS: tuple[Answer, ...] = (
    OK,
    SECOND_FACTOR,
    (200, "<html>portal</html>"),
    *((status, "") for status in (302, 400, 401, 403, 404, 408, 418, 425, 429, 500, 503)),
    *PROGRESS,
    # What the client raises if the files of a client certificate are unusable.
    Reason.CREDENTIAL,
)
"""All that may come of a request."""


@dataclass(frozen=True, slots=True)
class Life:
    """What happens to an app. When something has run out, all goes well from there on."""

    answers: Sequence[Answer] = ()
    """To logins, renewals and checks."""
    terminations: Sequence[Answer] = ()
    writes: Sequence[OutputError | None] = ()
    hooks: Sequence[HookError | None] = ()
    incidents: Sequence[str] = ()
    """Each after some minutes: "break" the credential, "replace" it, or "refresh"."""
    lasts: float = 3.0 * LIFETIME
    """Seconds after the last incident."""
    ends: bool = False
    """Whether the sessions are ended at the end."""


class ReadingClient:
    """A SessionClient that reads answers as the real one does."""

    def __init__(self, app: App, life: Life) -> None:
        self._login = Operation.LOGIN
        if isinstance(app.credential, TokenFile):
            self._login = Operation.LOGIN_BY_TOKEN
        elif isinstance(app.credential, LdapApp):
            self._login = Operation.LOGIN_BY_NAME
        encrypted = app.endpoint.url.startswith("https:") or app.endpoint.proxy
        self._impossible = {
            Reason.TLS if not encrypted else None,
            Reason.CREDENTIAL if not isinstance(app.credential, Certificate) else None,
        }
        self._answers = chain(life.answers, repeat(OK))
        self._terminations = chain(life.terminations, repeat((204, "")))
        self._granted = 0

    async def login(self, credential: Secret, timeout: float) -> Grant:  # noqa: ARG002  # a port
        """Answer a login."""
        return self._read(self._answers, self._login, credential, granted)

    async def reauth(self, token: Secret, timeout: float) -> Grant:  # noqa: ARG002  # a port
        """Answer a reauth."""
        return self._read(self._answers, Operation.REAUTH, token, granted)

    async def keep_alive(self, token: Secret, timeout: float) -> str:  # noqa: ARG002  # a port
        """Answer a keep-alive."""
        return self._read(self._answers, Operation.KEEP_ALIVE, token, acknowledged)

    async def terminate(self, token: Secret, timeout: float) -> None:  # noqa: ARG002  # a port
        """Answer a termination."""
        self._read(self._terminations, Operation.TERMINATE, token, acknowledged)

    def _read(
        self,
        answers: Iterator[Answer],
        operation: Operation,
        secret: Secret,
        read: Callable[[Exchange], T],
    ) -> T:
        answer = next(one for one in answers if one not in self._impossible)
        if isinstance(answer, Reason):
            raise Retryable(answer, "no answer")
        status, body = answer
        self._granted += 1
        body = body.replace("%s", f"token-{self._granted}")
        return read(Exchange(operation, secret, status, CIMultiDict(), body.encode(), 0.0))


@dataclass
class ScriptedHook:
    """A hook whose runs follow a script."""

    outcomes: Iterator[HookError | None]
    name: str = field(default="hooks[0] true")

    async def run(self, generation: int) -> str:  # noqa: ARG002  # a port
        """Run."""
        outcome = next(self.outcomes)
        if outcome is not None:
            raise outcome
        return ""


def events_of(app: App, life: Life) -> Iterable[Event]:
    """Return what is reported in an app's life."""
    return asyncio.run(_lived(app, life))


async def _lived(app: App, life: Life) -> Iterable[Event]:
    outputs = tuple(FakeOutput(str(file.path), life.writes) for file in app.files)
    fake = (FakeTokenApp if isinstance(app.credential, TokenFile) else FakeApp)(outputs=outputs)
    fake.app = app
    fake.rng = 0.9  # failed attempts are half a minute apart, so that tokens do expire
    fake.client = ReadingClient(app, life)
    fake.hooks = tuple(ScriptedHook(chain(life.hooks, repeat(None))) for _ in app.hooks)
    runner = AppRunner(app, fake.app_context, fake.context)
    async with running(runner.run()):
        for number, incident in enumerate(life.incidents):
            await fake.schedule.advance(LIFETIME / 4)
            fake.credential.error = None
            match incident:
                case "break":
                    fake.credential.error = Retryable(Reason.CREDENTIAL, "no such file")
                case "replace":
                    fake.credential.secret, fake.credential.version = f"secret-{number}", number
                    runner.reloaded()
                case _:
                    runner.refresh()
        await fake.schedule.advance(life.lasts)
    if life.ends:
        await runner.clear()
        await runner.end_sessions()
    return fake.observer.events
