"""What DSM's answers mean: a grant or an error.

Pure: nothing here sends, waits or reads a clock.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from refresherd.adapters.dsm.exchange import Exchange
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import B64TOKEN, UUID, Grant, Secret
from refresherd.domain.redaction import MASK

LONGEST_TOKEN = 16 * 1024
"""In characters. DSM's have 86."""

SECONDS = re.compile(r"-?[0-9]+")

CLIENT_ERROR_REASONS: Mapping[int, Reason] = MappingProxyType(
    {408: Reason.TIMEOUT, 425: Reason.THROTTLED, 429: Reason.THROTTLED}
)


class AuthResponse(msgspec.Struct):
    """The schema of that name in DSM's API description, which says to ignore unknown fields."""

    token_type: str
    expires_in: Annotated[int, msgspec.Meta(ge=0, le=4294967295)]
    entity_id: str
    access_token: str | None = None
    allowed_mfa_methods: list[Any] | None = None
    challenge: Any = None
    fido2_assertion_options: Any = None

    def __repr__(self) -> str:
        # The decoder makes the token a plain string, not a Secret.
        return "AuthResponse()"


DECODER = msgspec.json.Decoder(AuthResponse)


def granted(exchange: Exchange) -> Grant:
    """Return the new session of a login or a reauth.

    Raises DsmError: Rejected also if DSM wants a second factor, since the token is useless until
    then, and Retryable also if a successful answer grants no usable session.
    """
    if not exchange.is_success:
        raise _refusal(exchange)
    try:
        answer = DECODER.decode(exchange.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # None of these quotes the body, which may hold a token.
        fault = _undecodable(exchange, str(error))
    else:
        if (
            answer.allowed_mfa_methods
            or answer.challenge is not None
            or answer.fido2_assertion_options is not None
        ):
            raise Rejected(
                Reason.MFA_REQUIRED,
                "DSM wants a second factor, which refresherd cannot give; "
                "let the app log in without one",
                request_id=exchange.request_id,
            )
        fault = _unusable(answer)
        if not fault and answer.access_token is not None:
            return Grant(
                access_token=Secret(answer.access_token),
                entity_id=answer.entity_id.lower(),
                lifetime=float(answer.expires_in),
                request_id=exchange.request_id,
            )
    raise Retryable(Reason.BAD_RESPONSE, fault, request_id=exchange.request_id)


def acknowledged(exchange: Exchange) -> str:
    """Return the request id of a keep-alive or a termination. Raises DsmError.

    Any success will do, except a web page: a login portal answers 200 for every address.
    """
    if not exchange.is_success:
        raise _refusal(exchange)
    if exchange.is_web_page:
        message = _web_page(exchange)
        raise Retryable(Reason.BAD_RESPONSE, message, request_id=exchange.request_id)
    return exchange.request_id


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the seconds that Retry-After (RFC 9110, 10.2.3) asks for; None if it is unreadable.

    A date counts from the server's own Date header, so that its clock need not agree with
    ours; without one, it counts from `wall`, in unix seconds. A date in the past gives 0.0.
    The wait has no upper bound here: the caller decides how much of it to obey.
    """
    value = headers.get("Retry-After", "").strip()
    if SECONDS.fullmatch(value):
        return max(0.0, float(value))
    until = _unix(value)
    if until is None:
        return None
    server = _unix(headers.get("Date", ""))
    return max(0.0, until - (wall if server is None else server))


def _unix(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _refusal(exchange: Exchange) -> DsmError:
    status, is_login = exchange.status, exchange.operation.is_login
    message = _message(exchange)
    request_id = exchange.request_id
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if is_login:
            message = f"DSM refused the credential: {message}; replace it, or enable the app in DSM"
            return Rejected(Reason.REJECTED, message, request_id=request_id)
        dead = status == HTTPStatus.UNAUTHORIZED
        fault = "DSM has ended the session" if dead else "DSM refused the session's token"
        return SessionLost(f"{fault}: {message}", request_id=request_id, dead=dead)
    reason = CLIENT_ERROR_REASONS.get(status, Reason.BAD_RESPONSE)
    if 500 <= status <= 599:  # noqa: PLR2004  # RFC 9110's server errors
        reason = Reason.SERVER_ERROR
    return Retryable(
        reason,
        message,
        request_id=request_id,
        retry_after=retry_after(exchange.headers, exchange.wall),
        # DSM may count a malformed key as a failed login. It cannot count a 404: an app that
        # does not exist has no secret to reset.
        counted=is_login and status == HTTPStatus.BAD_REQUEST,
    )


def _message(exchange: Exchange) -> str:
    status = exchange.status
    message = f"{status} {responses.get(status, '')}".rstrip() + f" from {exchange.operation.path}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{message}; redirects are not followed{_redirect_host(exchange)}"
    text = exchange.excerpt()
    return f"{message}: {text}" if text else message


def _redirect_host(exchange: Exchange) -> str:
    """Name the host of a redirect only: its path and query may echo a secret."""
    location = exchange.headers.get("Location", "")
    try:
        # Masked before it is parsed: urlsplit lowers the case of a host, which would hide a secret.
        host = urlsplit(exchange.quote(location, len(location) + len(MASK))).hostname or ""
    except ValueError:
        host = ""
    return f" (to {exchange.quote(host)})" if host else ""


def _undecodable(exchange: Exchange, error: str) -> str:
    if not exchange.body.strip():
        return "the answer is empty; a proxy may have sent it"
    if exchange.is_web_page:
        return _web_page(exchange)
    return f"the answer is not an AuthResponse of DSM's: {error}"


def _web_page(exchange: Exchange) -> str:
    content_type = exchange.quote(exchange.content_type, 60) or "unknown type"
    return (
        f"the answer is a web page ({content_type}) and not DSM's; a proxy or portal may have "
        f"sent it: {exchange.excerpt()}"
    )


def _unusable(answer: AuthResponse) -> str:
    """Return what makes an answer unusable, "" if it is usable."""
    token = answer.access_token or ""
    requirements = (
        (answer.token_type == "Bearer", "token_type is not Bearer"),  # noqa: S105  # a type of token
        (answer.expires_in > 0, "expires_in is 0"),
        (UUID.fullmatch(answer.entity_id), "entity_id is not a UUID"),
        (token, "access_token is missing"),
        (len(token) <= LONGEST_TOKEN, f"access_token is longer than {LONGEST_TOKEN} characters"),
        (B64TOKEN.fullmatch(token), "access_token has characters that no header can hold"),
    )
    return next((f"the answer's {fault}" for met, fault in requirements if not met), "")
