"""Messages for unknown keys and wrong values, which say what would be right."""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import Meta, Struct

from refresherd.config.app_settings import AppTable
from refresherd.config.findings import KeyPath, describe_value, dotted, listed, nearest, quoted
from refresherd.config.scalars import Scalar
from refresherd.config.settings import RootTable, keys, parts
from refresherd.domain.redaction import holds_secret

NUMBERS: Mapping[type, str] = {int: "a whole number", float: "a number"}

SECRETS = frozenset(
    {
        *("api_key", "apikey", "app_key", "key", "credential", "secret", "password", "passphrase"),
        *("basic", "bearer", "token", "access_token", "app_token", "auth", "authorization"),
    }
)
"""Keys under which somebody may have written a secret itself."""

VERIFIED = (
    "DSM's certificate is always verified; for a private authority, write the path of its PEM file "
    "as ca_file"
)
CA_FILE = "write the path of the PEM file with DSM's certificate authority as ca_file"
ENDPOINT = "write the address of DSM as endpoint"
EARLY = "a token is replaced after a share of its lifetime: write at, such as 0.5"
PERSISTENT = "the daemon never gives up; retry_min and retry_max are the shortest and longest wait"

FROM_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("verify", "verify_ssl", "ssl_verify", "tls_verify", "verify_tls"), VERIFIED),
    **dict.fromkeys(("insecure", "skip_verify", "tls_skip_verify", "no_verify"), VERIFIED),
    **dict.fromkeys(("insecure_skip_verify", "tls_insecure", "verify_certificate"), VERIFIED),
    **dict.fromkeys(("ca", "cacert", "ca_cert", "ca_certs", "ca_bundle", "ca_path"), CA_FILE),
    **dict.fromkeys(("cafile", "ca_certificate", "ssl_ca_cert", "tls_ca", "tls_ca_file"), CA_FILE),
    **dict.fromkeys(("url", "uri", "host", "server", "address", "base_url"), ENDPOINT),
    **dict.fromkeys(("api_endpoint", "api_url", "dsm_url", "endpoint_url"), ENDPOINT),
    **dict.fromkeys(("interval", "refresh_interval", "period", "refresh_before"), EARLY),
    **dict.fromkeys(
        ("ttl", "lifetime", "expires_in"), f"DSM decides how long tokens live; {EARLY}"
    ),
    **dict.fromkeys(("retries", "max_retries", "retry", "attempts", "backoff"), PERSISTENT),
    **dict.fromkeys(("http_proxy", "https_proxy", "proxy_url"), "write proxy in [dsm]"),
    **dict.fromkeys(("log_level", "loglevel", "verbose", "debug"), "write level under [log]"),
    **dict.fromkeys(("port", "listen_address", "metrics_port"), "write listen under [http]"),
    **dict.fromkeys(
        ("cert", "certificate", "client_cert"), "write the path of the certificate as cert_file"
    ),
    "name": "write the app's name in the heading of its table: [apps.NAME]",
}
"""Keys of other programs, in lower case with underscores, and what to write instead."""

MOST_LISTED = 8


def invalid_value(wanted: object, value: object, path: KeyPath, default: object) -> str:
    """Return what is wrong with the value at a key, and what to write instead.

    `wanted` is the key's type; the default, or else an example, shows how it is written.
    """
    target, limits, _ = parts(wanted)
    text, kind = describe_value(value)
    problem, guess = f"{text} is {kind}", ""
    if get_origin(target) is tuple:
        tables = issubclass(get_args(target)[0], Struct)
        expected = f"tables headed [[{dotted(path)}]]" if tables else "a list of strings"
    elif issubclass(target, Enum):
        choices = tuple(str(choice.value) for choice in target)
        expected, default = listed(map(quoted, choices)), ""
        if isinstance(value, str):
            problem = f"{text} is not one of the choices"
            guess = nearest(value.strip().lower(), choices)
    elif issubclass(target, Struct):
        expected = f"a table headed [{dotted(path)}]"
    elif issubclass(target, Scalar):
        expected, guess = target.expected, _meant(target, value)
        if isinstance(value, str):
            problem = f"{text} is not a valid {target.noun}"
        if isinstance(default, str) and default and quoted(default) in expected:
            default = ""  # it is already named
    else:
        expected = NUMBERS[target]
        if isinstance(value, int | target) and not isinstance(value, bool):
            problem = f"{text} is out of range"
            upper = "" if limits.le is None else f" to {limits.le}"
            expected += f" from {limits.ge}{upper}" if upper else f" of at least {limits.ge}"
    if guess:
        return f"{problem}; write {expected}; did you mean {quoted(guess)}?"
    return f"{problem}; write {expected}{_example(limits, default)}"


def _meant(target: type[Scalar], value: object) -> str:
    """Return the string that an invalid value probably means, "" if it could mean anything."""
    if isinstance(value, str):
        return "" if holds_secret(value) else target.suggestion(value)
    number, _ = describe_value(value)
    return target.suggestion(number) if target.from_number and number.isdecimal() else ""


def _example(limits: Meta, default: Any) -> str:  # noqa: ANN401 -- a value of any key
    match default or next(iter(limits.examples or ()), default):
        case [*items] if items:
            return f", such as [{', '.join(map(quoted, items))}]"
        case str() | int() | float() as value if value != "":
            return f", such as {describe_value(value)[0]}"
        case _:
            return ""


def unknown_key(  # noqa: PLR0911 -- one for each mistake
    key: str, value: object, table: KeyPath, known: tuple[str, ...]
) -> str:
    """Return what to do about a key that its table does not know; its value is never shown.

    1. A secret, which must not be in the file.
    2. A table.
    3. A key of another program.
    4. A typing error.
    5. A key of another table.
    """
    name = key.lower().replace("-", "_")
    if isinstance(value, str) and (name in SECRETS or holds_secret(value)):
        secret, cure = "API key", "api_key_file"
        if "pass" in name:
            secret, cure = "password", "password_file"
        elif "token" in name or name == "bearer":
            secret, cure = "token", "token_file"
        return (
            f"unknown key; secrets must not be in this file: put the {secret} in a separate file "
            f"(chmod 0600) and write its path as {cure}"
        )
    if isinstance(value, dict):
        return f"unknown table; {_unknown_table(key, table, known)}"
    if name in FROM_ELSEWHERE and name not in known:
        return f"unknown key; {FROM_ELSEWHERE[name]}"
    if meant := nearest(name, known):
        return f"unknown key; did you mean {quoted(meant)}?"
    if home := _homes().get(name):
        return f"unknown key here; it belongs {home}"
    if len(known) <= MOST_LISTED:
        return f"unknown key; the keys here are {listed(sorted(known), 'and')}"
    return "unknown key; `refresherd schema` lists all keys"


def _unknown_table(  # noqa: PLR0911 -- one for each mistake
    key: str, table: KeyPath, known: tuple[str, ...]
) -> str:
    """Return what to do about a table that the table around it does not know."""
    top = dict(_tables(RootTable))
    match table:
        case ():
            # It is an app's name more often than a typo.
            meant = nearest(key.lower(), (*top, "apps"), 0.8)
            app = dotted(("apps", key))
            return (
                f"did you mean {quoted(meant)}?" if meant else f"an app's table is headed [{app}]"
            )
        case ("apps", _) if key in {"dsm", "refresh"}:
            return f"write its keys under [{dotted(table)}] itself"
        case ("apps", app):
            meant = nearest(key.lower(), tuple(dict(_tables(AppTable))))
            if meant:
                return f"did you mean {quoted(meant)}?"
            if key in top:
                return f"it belongs at the top, as [{key}]: all apps share it"
            return f"an app name with a dot needs quotes: [{dotted(('apps', f'{app}.{key}'))}]"
        case ("dsm" | "refresh",):
            return "write the settings of a single app under that app: [apps.NAME]"
        case _:
            return f"the keys here are {listed(sorted(known), 'and')}"


@cache
def _homes() -> dict[str, str]:
    """Return the place of each key that only one table knows."""
    tables = {
        "at the top, before any table": RootTable,
        "in [apps.NAME]": AppTable,
        **{f"in [{key}]": table for key, table in _tables(RootTable)},
        **{f"in [apps.NAME.{key}]": table for key, table in _tables(AppTable)},
    }
    places = [(key, home) for home, table in tables.items() for key in keys(table)]
    count = Counter(key for key, _ in places)
    return {key: home for key, home in places if count[key] == 1}


def _tables(table: type[Struct]) -> Iterator[tuple[str, type[Struct]]]:
    """Yield the keys of a table that are tables or lists of tables, and those tables."""
    for key, field in keys(table).items():
        target, *_ = parts(field.type)
        item = get_args(target)[0] if get_origin(target) is tuple else target
        if isinstance(item, type) and issubclass(item, Struct):
            yield key, item
