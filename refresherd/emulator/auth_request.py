"""The body of a login: DSM's AuthRequest, validated as its API description has it."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

BY_NAME: Final = "auth-by-app-name"

METHODS: Final[Mapping[str, Mapping[str, type]]] = {
    BY_NAME: {"acct_id": uuid.UUID, "name": str, "password": str},
    "aws-iam": {"acct_id": uuid.UUID, "region": str, "headers": dict},
    "ldap-basic-auth": {"idp_id": str, "email": str, "password": str},
    "oauth-auth-code": {"idp_id": str, "code": str, "email": str},
    "password": {"email": str, "password": str},
    "saml-response": {"response": str},
}
"""The required fields of each method of login, with their types."""

TYPES: Final[Mapping[type, str]] = {str: "a string", dict: "an object", uuid.UUID: "a UUID"}

TOKEN_TYPE: Final = "Bearer"  # noqa: S105 - a type of token


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """What the body of a login asks for."""

    method: str = ""
    """One of METHODS, "" if the Authorization header says who logs in."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The required fields of the method."""
    bind_to: str = ""
    """The UUID of the app that the session is to be bound to, "" for none."""


def parse(body: bytes) -> AuthRequest:
    """Return what a body asks for. Raises ValueError, whose text names the fault."""
    if not body.strip():
        return AuthRequest()
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(request, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - as for any other fault
    if request.get("token_type", TOKEN_TYPE) not in (None, TOKEN_TYPE):
        # DSM knows Cookie as well, which the emulator does not grant.
        raise ValueError(f"token_type: expected {TOKEN_TYPE}")
    bind_to = _bind_to(request.get("bind_to"))
    method = request.get("method")
    if method is None:
        return AuthRequest(bind_to=bind_to)
    return AuthRequest(str(method), _fields(method, request), bind_to)


def _fields(method: object, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the required fields of a method. Raises ValueError."""
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}")
    for name, kind in METHODS[method].items():
        if name not in request:
            raise ValueError(f"{method}: missing field {name}")
        if not _is(request[name], kind):
            raise ValueError(f"{name}: expected {TYPES[kind]}")
    return {name: request[name] for name in METHODS[method]}


def _bind_to(value: object) -> str:
    """Return the UUID in a BindToPrincipal, "" for none. Raises ValueError."""
    if value is None:
        return ""
    if not isinstance(value, dict) or set(value) != {"app"}:
        raise ValueError('bind_to: expected an object with the field "app"')
    if not _is(value["app"], uuid.UUID):
        raise ValueError("bind_to.app: expected a UUID")
    return str(uuid.UUID(value["app"]))


def _is(value: object, kind: type) -> bool:
    if kind is not uuid.UUID:
        return isinstance(value, kind)
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False
