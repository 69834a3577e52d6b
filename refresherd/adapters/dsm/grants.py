"""A successful answer to a login or a reauth: a new session, or why it is none."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from refresherd.adapters.dsm.text import plain, words
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable
from refresherd.domain.model import B64TOKEN, UUID, Grant, Secret

LONGEST_TOKEN = 16 * 1024


class AuthResponse(msgspec.Struct):
    """The schema of that name in DSM's API description; other fields are ignored, as it demands."""

    token_type: str
    expires_in: Annotated[int, msgspec.Meta(ge=0, le=4294967295)]
    entity_id: str
    access_token: str | None = None
    allowed_mfa_methods: list[Any] | None = None
    challenge: Any = None
    fido2_assertion_options: Any = None

    def __repr__(self) -> str:
        # It holds the token as the decoder made it, before it is a Secret.
        return "AuthResponse()"


DECODER = msgspec.json.Decoder(AuthResponse)


def read_grant(headers: Mapping[str, str], body: bytes, sent: Secret, request_id: str) -> Grant:
    """Return the new session. Raises Retryable for an answer that names none.

    Raises Rejected where DSM wants a second factor: the token is good for nothing until then.
    """
    try:
        answer = DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # None of these quotes the answer, which may hold a token.
        fault = _unreadable(headers, body, sent, str(error))
    else:
        if _wants_second_factor(answer):
            raise _second_factor(request_id)
        fault = _fault(answer)
        if not fault and answer.access_token is not None:
            return _grant(answer, answer.access_token, request_id)
    raise Retryable(Reason.BAD_RESPONSE, fault, request_id=request_id)


def looks_like_a_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the answer is markup, as of a proxy or a login portal on the way."""
    return "html" in headers.get("Content-Type", "").lower() or body.lstrip()[:1] == b"<"


def page(headers: Mapping[str, str], body: bytes, sent: Secret) -> str:
    """Return a description of an answer that `looks_like_a_page`."""
    kind = plain(headers.get("Content-Type", ""), sent, 60) or "unknown type"
    return f"the answer looks like a proxy's page ({kind}), not like DSM's: {words(body, sent)}"


def _grant(answer: AuthResponse, token: str, request_id: str) -> Grant:
    return Grant(
        access_token=Secret(token),
        entity_id=answer.entity_id.lower(),
        lifetime=float(answer.expires_in),
        request_id=request_id,
    )


def _wants_second_factor(answer: AuthResponse) -> bool:
    return (
        bool(answer.allowed_mfa_methods)
        or answer.challenge is not None
        or answer.fido2_assertion_options is not None
    )


def _second_factor(request_id: str) -> DsmError:
    return Rejected(
        Reason.MFA_REQUIRED,
        "DSM wants a second factor, which only a person can give",
        request_id=request_id,
    )


def _fault(answer: AuthResponse) -> str:
    """Return what is wrong with the answer, "" if nothing is."""
    if answer.token_type != "Bearer":  # noqa: S105  # a type of token, not one
        return "token_type is not Bearer"
    if answer.expires_in == 0:
        return "expires_in is 0"
    if not UUID.fullmatch(answer.entity_id):
        return "entity_id is not a UUID"
    return _token_fault(answer.access_token)


def _token_fault(token: str | None) -> str:
    if not token:
        return "access_token is missing"
    if len(token) > LONGEST_TOKEN:
        return f"access_token is longer than {LONGEST_TOKEN} characters"
    if not B64TOKEN.fullmatch(token):
        return "access_token has characters that an Authorization header cannot hold"
    return ""


def _unreadable(headers: Mapping[str, str], body: bytes, sent: Secret, error: str) -> str:
    if not body.strip():
        return "the answer is empty, as a proxy's may be"
    if looks_like_a_page(headers, body):
        return page(headers, body, sent)
    return f"the answer is not DSM's: {error}"
