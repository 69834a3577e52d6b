"""What is no fault but deserves a warning."""

import stat

from refresherd.config.document import AppDocument, Document
from refresherd.config.findings import Findings
from refresherd.config.host import Host, no_program
from refresherd.config.tables import ApiTable
from refresherd.config.wording import quoted


def warn(document: Document, host: Host, warnings: Findings) -> None:
    """Take note of what an operator may not have meant."""
    for app in document.apps:
        _warn_of_open_files(app, warnings)
        _warn_of_missing_programs(app, host, warnings)
    warn_of_unserved(document, warnings)


def warn_of_unserved(document: Document, warnings: Findings) -> None:
    """Take note of the keys that are checked, but that this version does not act upon."""
    served_later = "this version checks it but does not serve it yet"
    for key in ApiTable.__struct_fields__:
        if document.root.api.path and document.gives("api", key):
            warnings.add(("api", key), served_later)
    for app in document.apps:
        for key in ("access", "sockets", "hooks"):
            if key in app.given:
                warnings.add((*app.path, key), served_later)


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
