"""What the daemon's environment says: systemd's directories, and keys in variables."""

from collections.abc import Mapping
from pathlib import Path

from refresherd.config.tables import RootTable

Environ = Mapping[str, str]


def state_dir(root: RootTable, environ: Environ) -> Path | None:
    """Return where state outlives a restart: as configured, else systemd's first, else None."""
    if root.state_dir:
        return root.state_dir.path
    # systemd separates several directories by colons: systemd.exec(5), StateDirectory=.
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None


def credentials_directory(environ: Environ) -> Path | None:
    """Return where systemd put the service's credentials, None outside such a service."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(directory) if directory else None
