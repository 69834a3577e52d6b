"""`refresherd once`: get each app's token once, for init containers, cron and CI."""

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from refresherd.cli.errors import CommandError, Exit, UsageError, print_redacted
from refresherd.cli.options import add_config, add_timeout

if TYPE_CHECKING:
    from refresherd.config import Configuration

DESCRIPTION = """\
For init containers, cron and CI: no daemon keeps running, so the tokens are
not renewed. Hooks are not run, and sockets are not served. It warns if a
running daemon writes the same files."""

EPILOG = """\
example:
  refresherd once --config config.toml --app payments --timeout 30s

exit status:
  0   every file is written
  64  there is no such app
  69  cannot start, for example because a daemon uses the same state_dir
  75  not done in time, for example because a key or a directory is missing
  77  DSM refused a credential
  78  the configuration has faults"""


DAEMON_TIMEOUT = 2.0
"""Seconds for a running daemon to say which files it writes."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `once`."""
    add_config(parser)
    parser.add_argument(
        "--app",
        metavar="NAME",
        action="append",
        default=[],
        help="only this app; may be given several times (default: all)",
    )
    add_timeout(parser, 60.0)


def execute(arguments: Namespace) -> Exit:
    """Get the tokens, write the files, and print a line for each app."""
    sys.excepthook = print_redacted
    import asyncio

    from refresherd.config import load
    from refresherd.daemon import oneshot

    configuration = load(Path(arguments.config), os.environ)
    names = [app.name for app in configuration.apps]
    if unknown := sorted(set(arguments.app) - set(names)):
        missing = ", ".join(f'"{name}"' for name in unknown)
        raise UsageError(f"there is no app named {missing}; the apps are: {', '.join(names)}")
    if arguments.app:
        apps = tuple(app for app in configuration.apps if app.name in arguments.app)
        configuration = replace(configuration, apps=apps)
    if warning := _shared_with_daemon(configuration):
        print(warning, file=sys.stderr)
    verdicts = asyncio.run(oneshot.once(configuration, os.environ, arguments.timeout))
    for verdict in verdicts:
        line = f"{verdict.app}: {'; '.join(verdict.reasons) or 'done'}"
        print(line, file=sys.stderr if verdict.reasons else sys.stdout)
    if any(verdict.rejected for verdict in verdicts):
        return Exit.NOT_PERMITTED
    return Exit.TIMED_OUT if any(verdict.reasons for verdict in verdicts) else Exit.OK


def _shared_with_daemon(configuration: "Configuration") -> str:
    """Return a warning if a running daemon writes some of the files, else ""."""
    from refresherd.cli.client.daemon import Daemon
    from refresherd.cli.client.http_client import Deadline
    from refresherd.cli.client.messages import read_output_paths

    socket = configuration.api.path
    if socket is None:
        return ""
    try:
        written = read_output_paths(Daemon(str(socket)).status("", Deadline(DAEMON_TIMEOUT)))
    except CommandError:
        return ""
    paths = [str(file.path) for app in configuration.apps for file in app.files]
    if not (both := [path for path in paths if path in written]):
        return ""
    return (
        f"refresherd once: warning: the daemon on {socket} writes {', '.join(both)} as well; each "
        "replaces the other's tokens. To get new tokens from the daemon, run `refresherd refresh`"
    )
