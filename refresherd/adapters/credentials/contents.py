"""What a source holds: an API key, a bearer token or a password. No message quotes any of it."""

import json
from collections.abc import Callable
from typing import TypeAlias

from refresherd.domain.api_keys import app_uuid
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.key_faults import api_key_fault, token_fault
from refresherd.domain.model import Secret
from refresherd.domain.passwords import password

LONGEST = 64 * 1024
"""The most bytes that are read of a source. DSM's keys and tokens are under 300."""

Parsed: TypeAlias = tuple[Secret, str]
"""What a login is made with, and the app's UUID if the credential contains it, else ""."""

Parse: TypeAlias = Callable[[bytes, object], Parsed]
"""Returns the credential in what was read. Raises Retryable, which names where that was."""


def api_key(raw: bytes, where: object) -> Parsed:
    """Return the API key in `raw`. Raises Retryable, naming `where`.

    Half of a key, or something else in its place, is not sent: DSM would count a failed login.
    """
    text = _checked(raw, api_key_fault, "an API key", where)
    return Secret(text), app_uuid(text)


def bearer_token(raw: bytes, where: object) -> Parsed:
    """Return the bearer token in `raw`. Raises Retryable, naming `where`.

    An API key could be sent as one, and must not be.
    """
    return Secret(_checked(raw, token_fault, "a bearer token", where)), ""


def ldap_login(acct_id: str, app_name: str, raw: bytes, where: object) -> Parsed:
    """Return the login of an LDAP app whose password is in `raw`. Raises Retryable.

    It is the body that DSM's API description calls auth-by-app-name, as JSON. So the fingerprint
    tells apart two apps that have the same password.
    """
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not a password")
    try:
        fields = {
            "method": "auth-by-app-name",
            "acct_id": acct_id,
            "name": app_name,
            "password": password(raw),
        }
    except ValueError as error:
        raise unreadable(where, error) from None
    return Secret(json.dumps(fields)), ""


def _checked(raw: bytes, fault_of: Callable[[bytes], str], kind: str, where: object) -> str:
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not {kind}")
    if fault := fault_of(raw):
        raise unreadable(where, fault)
    return raw.strip().decode("ascii")


def unreadable(where: object, why: object) -> Retryable:
    """Return the error for a credential that cannot be read."""
    return Retryable(Reason.CREDENTIAL, f"{where}: {why}")
