"""`refresherd once`: get each app's token once, for init containers, cron and CI."""

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from refresherd.cli.errors import Exit, UsageError, print_redacted
from refresherd.cli.options import add_config, add_timeout

DESCRIPTION = """\
For init containers, cron and CI: no daemon keeps running, so the tokens are
not renewed. Hooks are not run, and sockets are not served."""

EPILOG = """\
example:
  refresherd once --config config.toml --app payments --timeout 30s

exit status:
  0   every file is written
  64  there is no such app
  69  cannot start, for example because a daemon uses the same state_dir
  75  not done in time; try again
  77  DSM refused a credential
  78  the configuration has faults"""


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
    verdicts = asyncio.run(oneshot.once(configuration, os.environ, arguments.timeout))
    for verdict in verdicts:
        line = f"{verdict.app}: {'; '.join(verdict.reasons) or 'done'}"
        print(line, file=sys.stderr if verdict.reasons else sys.stdout)
    if any(verdict.rejected for verdict in verdicts):
        return Exit.NOT_PERMITTED
    return Exit.TIMED_OUT if any(verdict.reasons for verdict in verdicts) else Exit.OK
