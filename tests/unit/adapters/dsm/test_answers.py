"""How an answer's status and headers become a grant or an error."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from refresherd.adapters.dsm.answers import Exchange, Operation, acknowledged, granted, retry_after
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable, SessionLost
from refresherd.domain.model import Grant, Secret

SENT = Secret("c2VjcmV0LWtleQ==")

LOGINS = (Operation.LOGIN, Operation.LOGIN_BY_NAME, Operation.LOGIN_BY_TOKEN)

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
    """Return an exchange with such an answer."""
    return Exchange(operation, SENT, status, CIMultiDict(headers or {}), body, wall)


def refused(refusal: Exchange) -> DsmError:
    """Return the error that an answer becomes, which is the same for both kinds of request."""
    with pytest.raises(DsmError) as of_grant:
        granted(refusal)
    with pytest.raises(DsmError) as of_acknowledgement:
        acknowledged(refusal)
    assert type(of_grant.value) is type(of_acknowledgement.value)
    assert of_grant.value.message == of_acknowledgement.value.message
    return of_grant.value


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_success_with_a_session_is_a_grant(status: int) -> None:
    """DSM's API description promises `2XX`, not 200."""
    grant = granted(exchange(status, GRANT, headers={"x-request-id": "r-1"}))
    assert grant == Grant(
        Secret("abc"), "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11", lifetime=600.0, request_id="r-1"
    )


@pytest.mark.parametrize("operation", LOGINS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_rejected(operation: Operation, status: int) -> None:
    """A retry would count against the credential: DSM resets a key after 100 failures."""
    error = refused(exchange(status, b"no such app", operation))
    assert isinstance(error, Rejected)
    assert error.reason is Reason.REJECTED
    reason = {401: "Unauthorized", 403: "Forbidden"}[status]
    assert error.message == f"{status} {reason}: no such app"


@pytest.mark.parametrize("status", sorted({*range(400, 500)} - {404, 408, 425, 429}))
def test_any_client_error_of_a_login_is_a_refusal_of_the_key(status: int) -> None:
    """Nobody knows which of them DSM counts; 72 logins in 8 s would cost the app its secret."""
    error = refused(exchange(status, b"Locked"))
    assert isinstance(error, Rejected)
    assert error.reason is Reason.REJECTED
    assert error.message.startswith(str(status))


@pytest.mark.parametrize("status", [404, 408, 425, 429])
def test_what_is_no_judgement_of_the_key_is_tried_again(status: int) -> None:
    """An overloaded DSM, or a proxy without a route, must not hold back a good key."""
    assert isinstance(refused(exchange(status)), Retryable)


def test_a_proxy_that_wants_a_password_has_refused_no_key() -> None:
    """It has not passed the request on, so DSM counts nothing, and the key is good."""
    headers = {"Proxy-Authenticate": "Basic"}
    assert isinstance(refused(exchange(407, headers=headers)), Retryable)
    assert isinstance(refused(exchange(401, headers=headers)), Rejected)


@pytest.mark.parametrize("operation", [*OTHERS, Operation.LOGIN_BY_TOKEN])
@pytest.mark.parametrize("status", [400, 402, 404, 405, 407, 409, 410, 421, 423, 451])
def test_other_client_errors_do_not_end_a_session(operation: Operation, status: int) -> None:
    """The token may be good, and is nothing that DSM would reset: try again before it idles out."""
    error = refused(exchange(status, operation=operation))
    assert isinstance(error, Retryable)
    assert error.reason is Reason.BAD_RESPONSE


@pytest.mark.parametrize("operation", OTHERS)
@pytest.mark.parametrize(("status", "dead"), [(401, True), (403, False)])
def test_a_refused_token_is_a_lost_session(operation: Operation, status: int, dead: bool) -> None:  # noqa: FBT001  # by name in the parameters above
    """401 means that the token is dead, 403 only that it is not renewed."""
    error = refused(exchange(status, b"Session does not exist", operation))
    assert isinstance(error, SessionLost)
    assert error.dead is dead
    fault = "DSM has ended the session" if dead else "DSM refused the session's token"
    assert error.message.startswith(f"{fault}: {status} ")
    assert error.message.endswith(f" from {operation.path}: Session does not exist")


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
        (600, Reason.BAD_RESPONSE),
        (999, Reason.BAD_RESPONSE),
    ],
)
def test_every_other_status_is_retryable(operation: Operation, status: int, reason: Reason) -> None:
    """Only a refusal of the credential ends the retries."""
    error = refused(exchange(status, operation=operation))
    assert isinstance(error, Retryable)
    assert error.reason is reason
    assert str(status) in error.message


def test_a_message_names_the_status_the_path_and_the_first_words() -> None:
    """This line is all that an operator sees."""
    body = b"<html><title>503 Backend   fetch failed</title></html>"
    error = refused(exchange(503, body))
    assert error.message == (
        "503 Service Unavailable from /sys/v1/session/auth: 503 Backend fetch failed"
    )


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
    ("location", "host"),
    [
        ("https://login.example/x?key=c2VjcmV0LWtleQ==", " (to login.example)"),
        ("https://c2VjcmV0LWtleQ==.example/", " (to ***.example)"),
        ("/elsewhere", ""),
        ("https://[oops", ""),
        ("", ""),
    ],
)
def test_a_redirect_is_not_followed_and_only_its_host_is_named(location: str, host: str) -> None:
    """The credential would go to another host, and the address's path or query may echo it."""
    error = refused(exchange(307, b"<a>Moved</a>", headers={"Location": location}))
    assert error.message == (
        "307 Temporary Redirect from /sys/v1/session/auth; redirects are not followed"
        + host.lower()
    )


def test_errors_carry_a_short_and_printable_request_id() -> None:
    """The vendor's support asks for it, and a hostile one must not fill or forge the log."""
    assert refused(exchange(500, headers={"X-Request-Id": "ab\x1bc"})).request_id == "ab c"
    assert len(refused(exchange(401, headers={"X-Request-Id": "r " * 200})).request_id) == 128


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("body", [b"", b"{}", b"ok"])
def test_any_success_acknowledges(status: int, body: bytes) -> None:
    """The answer to a keep-alive or a termination holds nothing that is needed."""
    success = exchange(status, body, Operation.KEEP_ALIVE, {"X-Request-ID": "r-2"})
    assert acknowledged(success) == "r-2"


def test_a_login_portals_page_acknowledges_nothing() -> None:
    """The session would be believed to live on although DSM never saw the keep-alive."""
    page = exchange(200, b" <html>Welcome</html>", Operation.KEEP_ALIVE, {"x-request-id": "r-3"})
    with pytest.raises(Retryable, match="is a web page") as caught:
        acknowledged(page)
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.request_id == "r-3"


def error_of(read: Callable[[Exchange], object], answered: Exchange) -> DsmError | None:
    """Return the error that reading an exchange raises, None if it raises none."""
    try:
        read(answered)
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
    """The caller always knows what to do, and no message holds a secret."""
    echo = {name: f"{value} {SENT.reveal()}" for name, value in headers.items()}
    answered = exchange(status, body + SENT.reveal().encode(), operation, echo, wall)
    for error in filter(None, (error_of(granted, answered), error_of(acknowledged, answered))):
        assert SENT.reveal() not in error.message + error.request_id
        assert error.message.isprintable()
        assert len(error.message) < 300


NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


def http_date(unix: float) -> str:
    """Return a date in HTTP's format."""
    return format_datetime(datetime.fromtimestamp(unix, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", 0.0),
        ("9" * 400, float("inf")),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("\uff11\uff12", None),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0),
        ("Mon Nov 23 12:01:00 2026", 60.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 23 Nov 99999999999999999999 12:01:00 GMT", None),
    ],
)
def test_retry_after_takes_seconds_and_dates_and_ignores_the_rest(
    value: str, wait: float | None
) -> None:
    """Servers ask for a pause in either form; an unreadable header asks for nothing."""
    assert retry_after({"Retry-After": value}, NOON) == wait


def test_without_retry_after_there_is_no_wait() -> None:
    """Most error answers have no such header."""
    assert retry_after({}, NOON) is None


def test_a_date_counts_from_the_servers_own_clock() -> None:
    """Our wall clock may be hours off, which must not turn a minute into hours."""
    headers = {"Retry-After": http_date(NOON + 30), "Date": http_date(NOON)}
    assert retry_after(headers, NOON - 7200) == 30.0


def test_an_unreadable_date_header_is_ignored() -> None:
    """A proxy may garble it; our own clock is the next best."""
    assert retry_after({"Retry-After": http_date(NOON + 30), "Date": "noonish"}, NOON) == 30.0


@given(st.integers(min_value=0, max_value=10**9))
def test_any_number_of_seconds_is_returned_as_it_is(seconds: int) -> None:
    """How much of an absurd wait to obey is for the caller to decide."""
    assert retry_after({"Retry-After": str(seconds)}, NOON) == seconds


@given(st.integers(min_value=0, max_value=4_000_000_000), st.integers(-86400, 86400))
def test_the_wait_is_the_date_less_the_servers_date(server: int, ahead: int) -> None:
    """The server's clock may show any time."""
    headers = {"Retry-After": http_date(max(0, server + ahead)), "Date": http_date(server)}
    assert retry_after(headers, NOON) == max(0.0, max(0, server + ahead) - server)


DATE_LIKE = st.from_regex(
    r"[A-Z][a-z]{2}, [0-9]{1,30} (Nov|[a-z]{3}) [0-9]{1,30} [0-9]{1,3}(:[0-9]{1,30}){0,3} "
    r"(GMT|[+-][0-9]{1,30})",
    fullmatch=True,
)


@given(st.text() | DATE_LIKE, st.text() | DATE_LIKE)
def test_no_header_raises_an_error(value: str, date: str) -> None:
    """A hostile header must not end an attempt with a bug."""
    wait = retry_after({"Retry-After": value, "Date": date}, NOON)
    assert wait is None or wait >= 0.0
