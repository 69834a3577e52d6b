"""`refresherd once`: each app's token once, for init containers, cron and CI."""

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from refresherd.cli import bug
from refresherd.cli.exits import Exit
from refresherd.config import Configuration, load
from refresherd.daemon.oneshot import Verdict, once


def execute(arguments: argparse.Namespace) -> Exit:
    """Get the tokens, write the files, and tell what became of each app."""
    sys.excepthook = bug.message
    configuration = load(Path(arguments.config), os.environ)
    unknown = set(arguments.app) - {app.name for app in configuration.apps}
    if unknown:
        there_are = ", ".join(app.name for app in configuration.apps)
        names = ", ".join(sorted(unknown))
        print(f"refresherd once: no such app: {names}; there are: {there_are}", file=sys.stderr)
        return Exit.USAGE
    chosen = _only(configuration, arguments.app)
    verdicts = asyncio.run(once(chosen, os.environ, arguments.timeout))
    for verdict in verdicts:
        print(_line(verdict), file=sys.stdout if not verdict.reasons else sys.stderr)
    return _status(verdicts)


def _only(configuration: Configuration, names: list[str]) -> Configuration:
    if not names:
        return configuration
    apps = tuple(app for app in configuration.apps if app.name in names)
    return replace(configuration, apps=apps)


def _line(verdict: Verdict) -> str:
    return f"{verdict.app}: {'; '.join(verdict.reasons) or 'done'}"


def _status(verdicts: tuple[Verdict, ...]) -> Exit:
    if any(verdict.rejected for verdict in verdicts):
        return Exit.NOT_PERMITTED
    if any(verdict.reasons for verdict in verdicts):
        return Exit.TIMED_OUT
    return Exit.OK
