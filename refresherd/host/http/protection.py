"""What a web configuration says: how a listener encrypts, whom it asks for a password."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refresherd.domain.model import Secret
from refresherd.host.tls_stream import ServerTls


@dataclass(frozen=True, slots=True)
class Protection:
    """How an HTTP listener is protected."""

    tls: ServerTls | None = None
    """None for plain connections."""
    users: Mapping[str, Secret] = field(default_factory=dict)
    """Each user's password, as a bcrypt hash. Without users, nobody is asked for a password."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Header fields of every answer; they replace those that a page sets itself."""


@dataclass(frozen=True, slots=True)
class ProtectionReading:
    """What was read of a web configuration."""

    protection: Protection | None
    """None if it cannot be used."""
    faults: tuple[str, ...]
    """What is wrong with it, each with its file and line."""
    files: tuple[Path, ...]
    """Itself, and the files that it names."""


def needs_restart(old: Protection, new: Protection) -> str:
    """Return which protection a new web configuration would end, "" if none.

    A file that is only half written may lack its last keys, and must not open the pages.
    """
    if (old.tls is None) != (new.tls is None):
        return "TLS was switched on or off"
    if old.users and not new.users:
        return "basic_auth_users is empty now"
    if old.tls is not None and new.tls is not None:
        required = ssl.CERT_REQUIRED
        if old.tls.context.verify_mode == required != new.tls.context.verify_mode:
            return "clients need no certificate any more"
        if old.tls.allowed_sans and not new.tls.allowed_sans:
            return "client_allowed_sans is empty now"
    return ""
