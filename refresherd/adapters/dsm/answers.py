"""What DSM's answers mean: mapped once, here, to a grant or to an error.

Pure: an answer in, a value or an error out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses
from types import MappingProxyType
from urllib.parse import urlsplit

from refresherd.adapters.dsm.grants import looks_like_a_page, page, read_grant
from refresherd.adapters.dsm.operations import Operation
from refresherd.adapters.dsm.retry_after import retry_after
from refresherd.adapters.dsm.text import plain, words
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Secret
from refresherd.domain.redaction import MASK

LONGEST_REQUEST_ID = 128

REASONS: Mapping[int, Reason] = MappingProxyType(
    {408: Reason.TIMEOUT, 425: Reason.THROTTLED, 429: Reason.THROTTLED}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `headers` is asked in the names' usual spelling."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        # The body may hold a token.
        return f"Answer(status={self.status})"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer. `sent` is the credential or token, `wall` now in unix seconds."""

    operation: Operation
    sent: Secret
    answer: Answer
    wall: float

    @property
    def request_id(self) -> str:
        """DSM's name for the request, "" if it gave none."""
        named = self.answer.headers.get("X-Request-Id", "")
        return named and plain(named, self.sent, LONGEST_REQUEST_ID)


def granted(exchange: Exchange) -> Grant:
    """Return the new session of a login or a reauth. Raises each DsmError."""
    answer = exchange.answer
    if not _is_success(answer.status):
        raise _refusal(exchange)
    return read_grant(answer.headers, answer.body, exchange.sent, exchange.request_id)


def acknowledged(exchange: Exchange) -> str:
    """Return the request id of a request that brings nothing back. Raises each DsmError.

    Any success will do, but a portal's page says nothing about a session.
    """
    answer = exchange.answer
    if not _is_success(answer.status):
        raise _refusal(exchange)
    if looks_like_a_page(answer.headers, answer.body):
        raise Retryable(
            Reason.BAD_RESPONSE,
            page(answer.headers, answer.body, exchange.sent),
            request_id=exchange.request_id,
        )
    return exchange.request_id


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _refusal(exchange: Exchange) -> DsmError:
    status = exchange.answer.status
    message = _message(exchange)
    request_id = exchange.request_id
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if exchange.operation.is_login:
            return Rejected(Reason.REJECTED, message, request_id=request_id)
        dead = status == HTTPStatus.UNAUTHORIZED
        return SessionLost(message, request_id=request_id, dead=dead)
    return Retryable(
        _reason(status),
        message,
        request_id=request_id,
        retry_after=retry_after(exchange.answer.headers, exchange.wall),
        # A key that DSM finds malformed may count as a failed one. A 404 can't: an app that
        # does not exist has no secret to reset.
        counted=exchange.operation.is_login and status == HTTPStatus.BAD_REQUEST,
    )


def _reason(status: int) -> Reason:
    if 500 <= status <= 599:  # noqa: PLR2004  # RFC 9110's server errors
        return Reason.SERVER_ERROR
    return REASONS.get(status, Reason.BAD_RESPONSE)


def _message(exchange: Exchange) -> str:
    status = exchange.answer.status
    said = f"{exchange.operation.path} was answered {status} {responses.get(status, '')}".rstrip()
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{said}; redirects are not followed{_elsewhere(exchange)}"
    text = words(exchange.answer.body, exchange.sent)
    return f"{said}: {text}" if text else said


def _elsewhere(exchange: Exchange) -> str:
    """Name the host of a redirect alone: the rest of its address may hold anything."""
    location = exchange.answer.headers.get("Location", "")
    try:
        # Masked first: a host name is read in lower case, which would hide what it echoes.
        host = urlsplit(plain(location, exchange.sent, len(location) + len(MASK))).hostname or ""
    except ValueError:
        host = ""
    return f" (to {plain(host, exchange.sent)})" if host else ""
