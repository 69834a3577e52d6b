"""Parses what a source holds: an API key, a bearer token or a password. No message quotes it."""

import json
from collections.abc import Callable
from typing import TypeAlias

from refresherd.domain.credential_formats import (
    api_key_fault,
    app_uuid,
    password_fault,
    token_fault,
    without_newline,
)
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Secret

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
    _check(raw, api_key_fault, "an API key", where)
    text = raw.strip().decode()
    return Secret(text), app_uuid(text)


def bearer_token(raw: bytes, where: object) -> Parsed:
    """Return the bearer token in `raw`. Raises Retryable, naming `where`.

    An API key could be sent as one, and must not be.
    """
    _check(raw, token_fault, "a bearer token", where)
    return Secret(raw.strip().decode()), ""


def ldap_login(acct_id: str, app_name: str, raw: bytes, where: object) -> Parsed:
    """Return the login of an LDAP app whose password is in `raw`. Raises Retryable.

    It is the body that DSM's API description calls auth-by-app-name, as JSON. So the fingerprint
    tells apart two apps that have the same password.
    """
    _check(raw, password_fault, "a password", where)
    fields = {
        "method": "auth-by-app-name",
        "acct_id": acct_id,
        "name": app_name,
        "password": without_newline(raw).decode(),
    }
    return Secret(json.dumps(fields)), ""


def _check(raw: bytes, fault_of: Callable[[bytes], str], kind: str, where: object) -> None:
    if len(raw) > LONGEST:
        raise unreadable(where, f"it is longer than {LONGEST} bytes, so it is not {kind}")
    if fault := fault_of(raw):
        raise unreadable(where, fault)


def unreadable(where: object, why: object) -> Retryable:
    """Return the error for a credential that cannot be read."""
    return Retryable(Reason.CREDENTIAL, f"{where}: {why}")
