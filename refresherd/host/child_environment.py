"""The environments of the programs that the daemon runs, chosen from its own.

The service manager's variables are gone already: `service_manager.without_own`.
"""

import os
from collections.abc import Mapping

from refresherd.domain.credential_formats import api_key_fault

BASIC = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER", "XDG_RUNTIME_DIR")
"""The variables that a hook gets; others may hold secrets. `systemctl --user` needs the last."""

KEYS = frozenset(("FORTANIX_API_KEY", "SDKMS_API_KEY"))
"""Where DSM's own tools look for an API key."""


def basic(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every program needs, and nothing else; PATH is always in it."""
    found = {name: environ[name] for name in BASIC if name in environ}
    return {"PATH": os.defpath, **found}


def without_api_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return everything but API keys, whatever their variables are called.

    What a password manager needs, such as VAULT_ADDR or GNUPGHOME, has no common pattern.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in KEYS and api_key_fault(os.fsencode(value).strip())
    }
