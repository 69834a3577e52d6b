"""The metrics whose series belong to an app: names, help texts and values."""

from collections.abc import Callable
from functools import lru_cache
from typing import assert_never

from refresherd.adapters.metrics.rendering import Family, Row, Samples, tails
from refresherd.adapters.metrics.series import SERIES
from refresherd.domain.login_budget import MAX_REFUSALS
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    Certificate,
    Credential,
    LdapApp,
    Method,
    SystemdCredential,
    TokenFile,
)
from refresherd.domain.session_state import State


def _counter(name: str, text: str, *labels: str) -> Family:
    endings = tails(labels, SERIES[name])

    def samples(row: Row) -> Samples:
        # Counts from before a reload must not be lost.
        shown = zip(endings, row.counters.counts(name), row.movable[name], strict=True)
        return [(tail, count) for tail, count, can_move in shown if can_move or count]

    return Family(name, "counter", text, samples)


def _writes(*, failed: bool) -> Callable[[Row], Samples]:
    def samples(row: Row) -> Samples:
        outputs = row.counters.outputs
        counts = [counts[failed] for counts in outputs.values()]
        return zip(tails(("output",), zip(outputs)), counts, strict=True)

    return samples


def _gauge(name: str, text: str, value: Callable[[Row], float | str]) -> Family:
    return Family(name, "gauge", text, lambda row: (("}", value(row)),))


STATE_TAILS = tails(("state",), zip(State))


def _states(row: Row) -> Samples:
    states = [int(row.session.state is state) for state in State]
    return zip(STATE_TAILS, states, strict=True)


def _info(row: Row) -> Samples:
    app = row.counters.app
    return ((_info_tail(app.endpoint.url, app.timing.renew, kind_of(app.credential)), 1),)


@lru_cache
def _info_tail(endpoint: str, renew: Method, credential: str) -> str:
    (tail,) = tails(("endpoint", "renew", "credential"), [(endpoint, renew, credential)])
    return tail


def kind_of(credential: Credential) -> str:  # noqa: PLR0911  # one for each kind
    """Return the kind of a credential: its key in the configuration, or the kind of app."""
    match credential:
        case ApiKeyFile():
            return "api_key_file"
        case SystemdCredential():
            return "api_key_credential"
        case ApiKeyEnv():
            return "api_key_env"
        case ApiKeyCommand():
            return "api_key_command"
        case TokenFile():
            return "token_file"
        case Certificate():
            return "certificate"
        case LdapApp():
            return "ldap"
        case _:
            assert_never(credential)


def _certificate(row: Row) -> Samples:
    expires_at = row.counters.certificate_expires_at
    return () if expires_at is None else (("}", expires_at),)


def _refused_logins(row: Row) -> Samples:
    refused = row.report.failed_logins
    return () if refused is None else (("}", refused),)


def _refused_logins_limit(row: Row) -> Samples:
    return () if row.report.failed_logins is None else (("}", MAX_REFUSALS),)


def _last_writes(row: Row) -> Samples:
    written = {output.name: output.written_at for output in row.report.status.outputs}
    outputs = tuple(row.counters.outputs)
    times = [row.unix(written.get(output)) for output in outputs]
    return zip(tails(("output",), zip(outputs)), times, strict=True)


# The expiry stays when the token has expired, and is 0 without a token: either way
# `time() > refresherd_token_expiry_timestamp_seconds` means that consumers have no valid token.
FAMILIES = (
    Family(
        "app_info",
        "gauge",
        "Always 1; the labels are the app's endpoint, how its session is renewed, and the kind of "
        "its credential.",
        _info,
    ),
    _counter(
        "refresh_attempts", "Attempts to get a session or keep one alive, by method.", "method"
    ),
    _counter(
        "refresh_failures",
        "Failed attempts to get a session or keep one alive, by method and reason.",
        "method",
        "reason",
    ),
    _gauge(
        "token_expiry_timestamp_seconds",
        "When the newest token expires or expired, in unix seconds; 0 without a token.",
        lambda row: row.unix(row.token.expires_at if row.token else None),
    ),
    _gauge(
        "token_issued_timestamp_seconds",
        "When the newest token was requested, in unix seconds; 0 without a token.",
        lambda row: row.unix(row.token.issued_at if row.token else None),
    ),
    _gauge(
        "next_refresh_timestamp_seconds",
        "When the next attempt is due, in unix seconds; +Inf if none is planned.",
        lambda row: row.unix(row.session.next_attempt_at),
    ),
    _gauge(
        "last_refresh_success_timestamp_seconds",
        "When an attempt last succeeded, in unix seconds; 0 before the first success.",
        lambda row: row.unix(row.session.last_success_at),
    ),
    _gauge(
        "token_generation",
        "Number of the newest token, counting from 1; 0 before the first.",
        lambda row: row.session.generation,
    ),
    _gauge(
        "consecutive_failures",
        "Failed attempts since the last success.",
        lambda row: row.session.failures,
    ),
    _gauge(
        "app_ready",
        "1 if the app has a valid token that every output holds and that is not about to expire, "
        "otherwise 0.",
        lambda row: int(row.ready),
    ),
    Family(
        "refused_logins",
        "gauge",
        "Failed logins with the app's credential in the last 24 hours: DSM refused them, or a "
        "restart cut them off.",
        _refused_logins,
    ),
    Family(
        "refused_logins_limit",
        "gauge",
        "How many logins with the app's credential may fail in 24 hours; then no more are sent.",
        _refused_logins_limit,
    ),
    Family(
        "client_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the app's client certificate expires, in unix seconds; 0 before it was read.",
        _certificate,
    ),
    Family("app_state", "gauge", "1 for the app's current state, 0 for the others.", _states),
    Family("output_writes", "counter", "Tokens written to the output.", _writes(failed=False)),
    Family(
        "output_failures",
        "counter",
        "Failed writes to the output, and alterations of it by others.",
        _writes(failed=True),
    ),
    Family(
        "output_last_write_timestamp_seconds",
        "gauge",
        "When the output's token was written, in unix seconds; 0 if the output holds none.",
        _last_writes,
    ),
    _counter("hook_runs", "Runs of the app's hooks, by result.", "result"),
    _counter("sessions_terminated", "Terminations of replaced sessions, by result.", "result"),
)
