"""Which hooks an app has: commands, and signals to the process of a pid file."""

import asyncio
from collections.abc import Mapping

from refresherd.adapters.hooks.command import CommandHook
from refresherd.adapters.hooks.pid_file import SignalHook
from refresherd.domain.model import App, HookSpec
from refresherd.engine.ports import Hook
from refresherd.host.keyed_executor import KeyedExecutor


def hooks(
    app: App, environ: Mapping[str, str], executor: KeyedExecutor, gate: asyncio.Semaphore
) -> tuple[Hook, ...]:
    """Return the app's hooks in their order.

    A command gets the little of `environ` that it needs, and runs once `gate` lets it.
    """

    def made(index: int, spec: HookSpec) -> Hook:
        place = f"hooks[{index}]"
        if spec.pid_file is None:
            return CommandHook(app.name, place, spec, environ, gate)
        return SignalHook(place, spec.signal, spec.pid_file, spec.timeout, executor)

    return tuple(made(index, spec) for index, spec in enumerate(app.hooks))
