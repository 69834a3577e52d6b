"""The commands: what `--help` tells of each, and what adds its options."""

from argparse import ArgumentParser
from collections.abc import Callable

from refresherd.cli import options


class Command:
    """What `--help` tells of a command, and what adds its options.

    `program` says that a program with arguments of its own follows after `--`. No dataclass:
    to import those takes as long as to start Python, and each command would pay for it.
    """

    __slots__ = ("epilog", "options", "program", "summary")

    def __init__(
        self,
        summary: str,
        epilog: str,
        options: Callable[[ArgumentParser], None],
        *,
        program: bool = False,
    ) -> None:
        self.summary = summary
        self.epilog = epilog
        self.options = options
        self.program = program


RUN = Command(
    "run the daemon in the foreground",
    """\
signals: TERM and INT stop it, a second one at once; HUP reloads the configuration;
USR1 refreshes every app now""",
    options.config,
)
CHECK = Command(
    "validate a configuration without contacting anyone",
    """\
Every fault is a line FILE:LINE: key.path: what is wrong, and what is right.
exit status: 0 the configuration is good, 78 it has faults""",
    options.config,
)
ONCE = Command(
    "get each app's token once, write its files and exit",
    """\
For init containers, cron and CI.
exit status: 0 every file is written, 75 not in time, 77 DSM refused a credential""",
    options.once,
)
TOKEN = Command(
    "print an app's current token",
    """\
example: TOKEN=$(refresherd token payments --min-ttl 30s)
         refresherd token payments --format header | curl -H @- https://...
The raw token ends without a newline.
exit status: 0 printed, 69 no daemon or no valid token, 75 no answer in time, 77 not permitted""",
    options.token,
)
STATUS = Command(
    "show each app's state, expiry, next refresh and last error",
    """\
example: refresherd status --watch
         refresherd status payments --json | jq -r .state
Colours are for terminals, unless $NO_COLOR is set.""",
    options.status,
)
WAIT = Command(
    "wait until apps are ready",
    """\
example: ExecStartPre=refresherd wait payments --timeout 30s
An app is ready when there is a valid token and every file holds it. The daemon itself is
waited for as well.
exit status: 0 all are ready, 75 not in time (says who is not, and why), 77 not permitted""",
    options.wait,
)
REFRESH = Command(
    "refresh apps now, and show what came of it",
    """\
example: refresherd refresh payments
A credential that was refused and is mended is tried at once.
exit status: 0 refreshed, 69 failed and no valid token is left, 75 failed but the old token is
still valid (try again), 77 DSM refused the credential, or not permitted""",
    options.refresh,
)
WATCH = Command(
    "print a line of JSON for each new token until interrupted",
    """\
example: refresherd watch payments | jq --unbuffered -r .access_token
The current token comes first. When the daemon restarts, it is waited for.""",
    options.watch,
)
EXEC = Command(
    "run a program with the token in its environment",
    """\
example: refresherd exec payments -- ./report.sh
         refresherd exec payments --on-refresh restart -- ./server
         refresherd exec payments --on-refresh HUP -- ./server
CMD finds $FORTANIX_API_ENDPOINT, $FORTANIX_ACCESS_TOKEN and $FORTANIX_TOKEN_EXPIRES_AT. To restart
it, it is sent TERM, and KILL 10 s later; INT, TERM, HUP, QUIT, USR1, USR2 and WINCH go on to it.
exit status: CMD's own, 128 + N if signal N ended it, 126 not executable, 127 not found; before
CMD runs as for `refresherd token`""",
    options.execute,
    program=True,
)
SCHEMA = Command(
    "print the configuration's JSON Schema, for editors",
    "example: refresherd schema > refresherd.schema.json",
    options.none,
)
EMULATOR = Command(
    "run a DSM to develop and test against",
    """\
example: refresherd emulator --tls --lifetime 30
Prints its endpoint, CA file and API keys; faults are ordered on its /control pages.""",
    options.emulator,
)
DEMO = Command(
    "watch the daemon keep tokens of an emulated DSM; no account needed",
    "example: refresherd demo --apps 5 --lifetime 10 --for 30",
    options.demo,
)

COMMANDS = {
    "run": RUN,
    "check": CHECK,
    "once": ONCE,
    "token": TOKEN,
    "status": STATUS,
    "wait": WAIT,
    "refresh": REFRESH,
    "watch": WATCH,
    "exec": EXEC,
    "schema": SCHEMA,
    "emulator": EMULATOR,
    "demo": DEMO,
}
"""The name of a command is also that of its module here."""
