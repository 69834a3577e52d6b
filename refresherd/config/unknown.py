"""What to say of a key that nobody knows: a typo, a key in the wrong table, or a secret."""

from collections import Counter
from functools import cache

from msgspec import Struct
from msgspec.structs import fields

from refresherd.config.lines import KeyPath
from refresherd.config.tables import (
    AccessTable,
    ApiTable,
    AppTable,
    DsmTable,
    FileTable,
    HookTable,
    HttpTable,
    LogTable,
    RefreshTable,
    RootTable,
    SocketTable,
)
from refresherd.config.wording import listed, nearest, quoted
from refresherd.domain.redaction import holds_secret

HOMES: dict[str, type[Struct]] = {
    "at the top, before any table": RootTable,
    "in [dsm]": DsmTable,
    "in [refresh]": RefreshTable,
    "in [api]": ApiTable,
    "in [http]": HttpTable,
    "in [log]": LogTable,
    "in [apps.NAME]": AppTable,
    "in [apps.NAME.access]": AccessTable,
    "in [[apps.NAME.files]]": FileTable,
    "in [[apps.NAME.sockets]]": SocketTable,
    "in [[apps.NAME.hooks]]": HookTable,
}

SECRETS = frozenset(
    {
        *("api_key", "apikey", "app_key", "key", "credential", "secret", "password", "passphrase"),
        *("basic", "bearer", "token", "access_token", "app_token"),
    }
)

TABLES = ("access", "files", "sockets", "hooks")
MOST_LISTED = 8


def unknown_key(key: str, value: object, table: KeyPath, known: tuple[str, ...]) -> str:
    """Return what is wrong with a key that its table does not know, never showing its value."""
    if isinstance(value, str) and (key.lower() in SECRETS or holds_secret(value)):
        return (
            "unknown key; secrets are never inline: put the API key in a file of its own "
            "(chmod 0600) and name that file with api_key_file"
        )
    meant = nearest(key, known)
    if len(table) == len(("apps", "NAME")) and isinstance(value, dict) and meant not in TABLES:
        return "unknown key; an app's name that holds a dot stands in quotes"
    if meant:
        return f"unknown key; did you mean {quoted(meant)}?"
    if home := homes().get(key):
        return f"unknown key here; it belongs {home}"
    if len(known) <= MOST_LISTED:
        return f"unknown key; known here: {listed(sorted(known), 'and')}"
    return "unknown key; `refresherd schema` tells all that are known"


@cache
def homes() -> dict[str, str]:
    """Return where the keys belong that one table alone knows."""
    found = [(field.name, home) for home, table in HOMES.items() for field in fields(table)]
    count = Counter(key for key, _ in found)
    return {key: home for key, home in found if count[key] == 1}
