"""Who asks, as the daemon learns it from the kernel."""

import os
import pwd


def whoever_asks() -> str:
    """Return the user that this process acts as, by name and number."""
    uid = os.geteuid()
    try:
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
