"""One app that has no key, with a session store and all else that it needs, all of it fake."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Secret, Timing, TokenFile
from refresherd.engine.context import AppContext
from support.fake_app import TIMING, FakeApp, Script
from support.fakes import Disk, FakeOutput, FakeSessionStore

BOOTSTRAP = Secret("bootstrap")


class FakeTokenApp(FakeApp):
    """An app with a token file; `stored` is the token that an earlier run left, if any."""

    def __init__(
        self,
        script: Script = (),
        stored: str = "",
        *,
        timing: Timing = TIMING,
        outputs: tuple[FakeOutput, ...] = (),
        writes: Iterable[OutputError | asyncio.Event | None] = (),
    ) -> None:
        super().__init__(script, timing=timing, outputs=outputs, terminations=repeat(None))
        self.app = replace(self.app, credential=TokenFile(Path("bootstrap.token")))
        self.credential.secret, self.credential.entity_id = BOOTSTRAP.reveal(), ""
        disk = Disk(BOOTSTRAP.fingerprint(), Secret(stored)) if stored else Disk()
        self.store = FakeSessionStore(disk=disk, script=writes)

    @property
    def app_context(self) -> AppContext:
        """The app's ports, with its session store."""
        return replace(super().app_context, session_store=self.store)

    def requests(self) -> list[tuple[str, str]]:
        """Return what DSM was asked, and with what."""
        return [(call.name, call.secret) for call in self.scripted.calls]
