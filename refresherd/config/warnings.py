"""What is no fault but deserves a warning."""

import stat

from refresherd.config.configuration import Shutdown
from refresherd.config.document import AppDocument, Document
from refresherd.config.findings import Findings
from refresherd.config.host import Host, no_program
from refresherd.config.wording import quoted


def warn(document: Document, host: Host, warnings: Findings) -> None:
    """Take note of what an operator may not have meant."""
    _warn_of_kept_sessions(document, warnings)
    for app in document.apps:
        _warn_of_open_files(app, warnings)
        _warn_of_missing_programs(app, host, warnings)


def _warn_of_kept_sessions(document: Document, warnings: Findings) -> None:
    terminate = document.root.shutdown is Shutdown.TERMINATE
    if terminate and any(app.own.token_file for app in document.apps):
        warnings.add(
            ("shutdown",),
            '"terminate" does not hold for apps with a token_file: their last session is all that '
            "there is to go on from after a restart, so it is kept",
        )


def _warn_of_open_files(app: AppDocument, warnings: Findings) -> None:
    for key, output in app.outputs():
        if output.mode.bits & (stat.S_IROTH | stat.S_IWOTH):
            warnings.add(
                (*key, "mode"),
                f"{quoted(output.mode)} hands the token to every user of this host; "
                'with a group, "0640" would do',
            )


def _warn_of_missing_programs(app: AppDocument, host: Host, warnings: Findings) -> None:
    for index, hook in enumerate(app.own.hooks):
        # A hook that fails harms no token, so it does not keep the daemon from starting.
        if hook.command and not host.has_program(hook.command[0]):
            warnings.add((*app.path, "hooks", index, "command", 0), no_program(hook.command[0]))
