"""What DSM's answers mean, and what messages may quote of them.

Pure: nothing here sends, waits or reads a clock.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from http.client import responses
from types import MappingProxyType
from urllib.parse import urlsplit

from refresherd.adapters.dsm.auth_response import decode
from refresherd.domain.errors import Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Secret
from refresherd.domain.redaction import MASK, redact_quoted, truncate

SECONDS = re.compile(r"-?[0-9]+")

CLIENT_ERROR_REASONS: Mapping[int, Reason] = MappingProxyType(
    {408: Reason.TIMEOUT, 425: Reason.THROTTLED, 429: Reason.THROTTLED}
)

NOT_COUNTED = frozenset((404, *CLIENT_ERROR_REASONS))
"""Client errors (4xx) that DSM cannot count as failed logins with a key. Where it knows no such app
(404), there is no secret to reset. It may count all others."""

LONGEST_REQUEST_ID = 128
"""In characters. DSM's are UUIDs."""

EXAMINED = 4096
"""Characters of a body that an excerpt is made from; bounds the work of the patterns."""

TAG = re.compile(r"<[^>]*>")


class Operation(Enum):
    """A request, with the paths and schemes of DSM's API description. Each is a POST.

    Only logins may have a body.
    """

    LOGIN = ("/sys/v1/session/auth", "Basic", True)
    LOGIN_BY_NAME = ("/sys/v1/session/auth", "", True)
    """The login of an LDAP app. Its body is the credential."""
    LOGIN_BY_TOKEN = ("/sys/v1/session/reauth", "Bearer", True)
    """The first login of an app whose only credential is a bearer token."""
    REAUTH = ("/sys/v1/session/reauth", "Bearer", False)
    KEEP_ALIVE = ("/sys/v1/session/refresh", "Bearer", False)
    TERMINATE = ("/sys/v1/session/terminate", "Bearer", False)

    def __init__(self, path: str, scheme: str, is_login: bool) -> None:  # noqa: FBT001  # an Enum passes its values by position
        self.path = path
        self.scheme = scheme
        """The Authorization header's scheme, "" for a request without that header."""
        self.is_login = is_login
        """Whether a refusal is final: there is no other credential to fall back to."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    operation: Operation
    sent: Secret
    """The credential or token of the request, which the answer may echo."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Looked up by the names' usual spelling."""
    body: bytes = field(repr=False)
    wall: float
    """When the answer came, in unix seconds."""

    @property
    def is_web_page(self) -> bool:
        """Whether the answer is markup, for instance of a proxy or a login portal."""
        return "html" in self.content_type.lower() or self.body.lstrip()[:1] == b"<"

    @property
    def content_type(self) -> str:
        """The answer's Content-Type, "" if it has none."""
        return self.headers.get("Content-Type", "")

    @property
    def request_id(self) -> str:
        """The answer's `x-request-id`, "" if it has none."""
        value = self.headers.get("X-Request-Id", "")
        # Masking takes longer than reading the rest of the answer.
        return value and self.quote(value, LONGEST_REQUEST_ID)

    def excerpt(self) -> str:
        """Return the first words of the body without its markup, "" if the body is binary."""
        start = truncate(self.body.decode(errors="replace"), EXAMINED)
        return "" if "\0" in start else self.quote(html.unescape(TAG.sub(" ", start)))

    def quote(self, text: str, limit: int = 120) -> str:
        """Return text of the answer as one printable line of at most `limit` characters.

        What was sent is masked, and so is anything else that looks like a secret.
        """
        text = redact_quoted(text, self.sent.reveal())
        if not text.isprintable():
            text = "".join(char if char.isprintable() else " " for char in text)
        line = " ".join(text.split())
        return line if len(line) <= limit else line[: limit - 1] + "…"


def granted(exchange: Exchange) -> Grant:
    """Return the new session of a login or a reauth.

    Raises DsmError: Rejected also if DSM wants a second factor, since the token is useless until
    then, and Retryable also if a successful answer grants no usable session.
    """
    _raise_for_status(exchange)
    try:
        answer = decode(exchange.body)
    except ValueError as error:
        if not exchange.body.strip():
            fault = "the answer is empty; a proxy may have sent it"
        else:
            fault = _web_page(exchange) if exchange.is_web_page else str(error)
    else:
        if answer.wants_second_factor:
            raise Rejected(
                Reason.MFA_REQUIRED,
                "DSM wants a second factor, which refresherd cannot give; "
                "let the app log in without one",
                request_id=exchange.request_id,
            )
        fault = answer.fault()
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
    _raise_for_status(exchange)
    if exchange.is_web_page:
        fault = _web_page(exchange)
        raise Retryable(Reason.BAD_RESPONSE, fault, request_id=exchange.request_id)
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


def _raise_for_status(exchange: Exchange) -> None:
    """Raise DsmError unless the status is 2xx: DSM's API description promises no particular one."""
    status, is_login = exchange.status, exchange.operation.is_login
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    request_id = exchange.request_id
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) or _refuses_key(exchange):
        if is_login:
            # The caller knows whose credential it is, and where.
            raise Rejected(Reason.REJECTED, _answer(exchange), request_id=request_id)
        dead = status == HTTPStatus.UNAUTHORIZED
        fault = "DSM has ended the session" if dead else "DSM refused the session's token"
        raise SessionLost(f"{fault}: {_message(exchange)}", request_id=request_id, dead=dead)
    reason = CLIENT_ERROR_REASONS.get(status, Reason.BAD_RESPONSE)
    if 500 <= status <= 599:  # noqa: PLR2004  # RFC 9110's server errors
        reason = Reason.SERVER_ERROR
    raise Retryable(
        reason,
        _message(exchange),
        request_id=request_id,
        retry_after=retry_after(exchange.headers, exchange.wall),
    )


def _refuses_key(exchange: Exchange) -> bool:
    """Return whether DSM may count this answer as a failed login with a key.

    A token is not counted, so a first login by one is tried again: it may idle out before an
    operator comes. A proxy that wants a password says so in Proxy-Authenticate (RFC 9110, 15.5.8),
    and has not passed the request on.
    """
    status, operation = exchange.status, exchange.operation
    if not operation.is_login or operation is Operation.LOGIN_BY_TOKEN or status in NOT_COUNTED:
        return False
    by_proxy = status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and (
        "Proxy-Authenticate" in exchange.headers
    )
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and not by_proxy


def _answer(exchange: Exchange, source: str = "") -> str:
    """Return the status, from `source`, and the first words of the body."""
    status, text = exchange.status, exchange.excerpt()
    message = f"{status} {responses.get(status, '')}".rstrip() + source
    return f"{message}: {text}" if text else message


def _message(exchange: Exchange) -> str:
    status, source = exchange.status, f" from {exchange.operation.path}"
    if not HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return _answer(exchange, source)
    message = f"{status} {responses.get(status, '')}".rstrip() + source
    message += "; redirects are not followed"
    location = exchange.headers.get("Location", "")
    try:
        # Masked before it is parsed: urlsplit lowers the case of a host, which would hide a secret.
        host = urlsplit(exchange.quote(location, len(location) + len(MASK))).hostname
    except ValueError:
        host = None
    # Only the host is named: the address's path and query may echo a secret.
    return f"{message} (to {exchange.quote(host)})" if host else message


def _web_page(exchange: Exchange) -> str:
    content_type = exchange.quote(exchange.content_type, 60) or "unknown type"
    return (
        f"the answer is a web page ({content_type}), not DSM's; a proxy or portal may have "
        f"sent it: {exchange.excerpt()}"
    )
