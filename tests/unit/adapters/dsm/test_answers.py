"""What DSM's answers mean: status and headers."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from refresherd.adapters.dsm.answers import Answer, Exchange, acknowledged, granted
from refresherd.adapters.dsm.operations import Operation
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Secret

SENT = Secret("c2VjcmV0LWtleQ==")

LOGINS = (Operation.LOGIN, Operation.LOGIN_BY_TOKEN)

OTHERS = tuple(operation for operation in Operation if operation not in LOGINS)

GRANT = (
    b'{"token_type": "Bearer", "expires_in": 600, "access_token": "abc",'
    b' "entity_id": "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11"}'
)


def exchange(
    status: int,
    body: bytes = b"",
    operation: Operation = Operation.LOGIN,
    headers: dict[str, str] | None = None,
    wall: float = 0.0,
) -> Exchange:
    """Return an exchange that was answered so."""
    return Exchange(operation, SENT, Answer(status, CIMultiDict(headers or {}), body), wall)


def refused(told: Exchange) -> DsmError:
    """Return the error that an answer means, the same for both kinds of request."""
    with pytest.raises(DsmError) as of_grant:
        granted(told)
    with pytest.raises(DsmError) as of_rest:
        acknowledged(told)
    assert type(of_grant.value) is type(of_rest.value)
    assert of_grant.value.message == of_rest.value.message
    return of_grant.value


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_success_with_a_session_is_a_grant(status: int) -> None:
    """DSM's description promises `2XX`, not 200."""
    grant = granted(exchange(status, GRANT, headers={"x-request-id": "r-1"}))
    assert grant == Grant(
        Secret("abc"), "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", lifetime=600.0, request_id="r-1"
    )


@pytest.mark.parametrize("operation", LOGINS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_rejected(operation: Operation, status: int) -> None:
    """Retrying it would count against the credential: DSM resets a key after 100 failures."""
    error = refused(exchange(status, b"Unauthorized", operation))
    assert isinstance(error, Rejected)
    assert error.reason is Reason.REJECTED


@pytest.mark.parametrize("operation", OTHERS)
@pytest.mark.parametrize(("status", "dead"), [(401, True), (403, False)])
def test_a_refused_token_is_a_lost_session(operation: Operation, status: int, dead: bool) -> None:  # noqa: FBT001  # by name in the parameters above
    """401 says that the token is dead; 403 only that it is not renewed."""
    error = refused(exchange(status, b"Session does not exist", operation))
    assert isinstance(error, SessionLost)
    assert error.dead is dead
    assert "Session does not exist" in error.message


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (408, Reason.TIMEOUT),
        (425, Reason.THROTTLED),
        (429, Reason.THROTTLED),
        (500, Reason.SERVER_ERROR),
        (503, Reason.SERVER_ERROR),
        (599, Reason.SERVER_ERROR),
        (101, Reason.BAD_RESPONSE),
        (302, Reason.BAD_RESPONSE),
        (404, Reason.BAD_RESPONSE),
        (407, Reason.BAD_RESPONSE),
        (600, Reason.BAD_RESPONSE),
        (999, Reason.BAD_RESPONSE),
    ],
)
def test_whatever_may_pass_is_retryable(operation: Operation, status: int, reason: Reason) -> None:
    """Only a clear no to the credential ends the retries."""
    error = refused(exchange(status, operation=operation))
    assert isinstance(error, Retryable)
    assert error.reason is reason
    assert str(status) in error.message


def test_a_message_says_what_was_asked_and_answered() -> None:
    """An operator reads this line alone."""
    body = b"<html><title>503 Backend   fetch failed</title></html>"
    error = refused(exchange(503, body))
    expected = "/sys/v1/session/auth was answered 503 Service Unavailable: 503 Backend fetch failed"
    assert error.message == expected


def test_retry_after_is_passed_on() -> None:
    """A server in trouble knows best when to come back."""
    seconds = refused(exchange(503, headers={"Retry-After": "7"}))
    date = refused(exchange(429, headers={"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, wall=50))
    none = refused(exchange(500))
    assert isinstance(seconds, Retryable)
    assert isinstance(date, Retryable)
    assert isinstance(none, Retryable)
    assert (seconds.retry_after, date.retry_after, none.retry_after) == (7.0, 10.0, None)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://login.example/x?key=c2VjcmV0LWtleQ==", " (to login.example)"),
        ("https://c2VjcmV0LWtleQ==.example/", " (to ***.example)"),
        ("/elsewhere", ""),
        ("https://[oops", ""),
        ("", ""),
    ],
)
def test_a_redirect_is_named_by_its_host_alone(location: str, told: str) -> None:
    """Following it would carry the credential there; its path or query may echo it."""
    error = refused(exchange(307, b"<a>Moved</a>", headers={"Location": location}))
    assert error.message == (
        "/sys/v1/session/auth was answered 307 Temporary Redirect; redirects are not followed"
        + told.lower()
    )


def test_errors_carry_the_request_id_cut_and_printable() -> None:
    """The vendor's support asks for it; a hostile one must not fill or forge the log."""
    assert refused(exchange(500, headers={"X-Request-Id": "ab\x1bc"})).request_id == "ab c"
    assert len(refused(exchange(401, headers={"X-Request-Id": "r " * 200})).request_id) == 128


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("body", [b"", b"{}", b"ok"])
def test_any_success_acknowledges(status: int, body: bytes) -> None:
    """A keep-alive and a termination bring nothing back that would be needed."""
    told = exchange(status, body, Operation.KEEP_ALIVE, {"X-Request-ID": "r-2"})
    assert acknowledged(told) == "r-2"


def test_a_portals_page_acknowledges_nothing() -> None:
    """Taken for a keep-alive, it would make a session live on that nobody kept alive."""
    told = exchange(200, b" <html>Welcome</html>", Operation.KEEP_ALIVE, {"x-request-id": "r-3"})
    with pytest.raises(Retryable, match="proxy's page") as caught:
        acknowledged(told)
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.request_id == "r-3"


def test_an_answer_does_not_print_its_body() -> None:
    """It may hold the new token, and values end up in tracebacks."""
    assert repr(Answer(200, {}, GRANT)) == "Answer(status=200)"


def error_of(read: Callable[[Exchange], object], told: Exchange) -> DsmError | None:
    """Return the error that reading an exchange ends with, None if it is fine."""
    try:
        read(told)
    except DsmError as error:
        return error
    return None


HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Retry-After", "Date", "Location", "X-Request-Id"]), st.text()
)


@given(
    st.sampled_from(Operation),
    st.integers(min_value=100, max_value=999),
    HEADERS,
    st.binary() | st.just(GRANT),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_answer_is_a_grant_or_one_of_our_errors(
    operation: Operation, status: int, headers: dict[str, str], body: bytes, wall: float
) -> None:
    """Whatever comes back, the caller knows what to do, and no message holds a secret."""
    echo = {name: f"{value} {SENT.reveal()}" for name, value in headers.items()}
    told = exchange(status, body + SENT.reveal().encode(), operation, echo, wall)
    for error in filter(None, (error_of(granted, told), error_of(acknowledged, told))):
        assert SENT.reveal() not in error.message + error.request_id
        assert error.message.isprintable()
        assert len(error.message) < 300
