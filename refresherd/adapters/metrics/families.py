"""Which series every app has, and where their values come from."""

from collections.abc import Callable
from math import isinf

from refresherd.adapters.metrics.tally import (
    ATTEMPTED,
    ENDED,
    ENDINGS,
    FAILED,
    FAILURES,
    HOOKED,
    METHODS,
    RESULTS,
)
from refresherd.adapters.metrics.text import Family, Row, Samples, tails
from refresherd.domain.model import Instant
from refresherd.domain.session_state import State

METHOD_TAILS = tails("method", METHODS)
ENDING_TAILS = tails("result", ENDINGS)
RESULT_TAILS = tails("result", RESULTS)
STATE_TAILS = tails("state", State)
FAILURE_TAILS = tuple(f',method="{method}",reason="{reason}"}}' for method, reason in FAILURES)


def _attempts(row: Row) -> Samples:
    return zip(METHOD_TAILS, row.tally.counts[ATTEMPTED], strict=True)


def _failures(row: Row) -> Samples:
    return zip(FAILURE_TAILS, row.tally.counts[FAILED], strict=True)


def _endings(row: Row) -> Samples:
    return zip(ENDING_TAILS, row.tally.counts[ENDED], strict=True)


def _hooks(row: Row) -> Samples:
    return zip(RESULT_TAILS, row.tally.counts[HOOKED], strict=True)


def _states(row: Row) -> Samples:
    return zip(
        STATE_TAILS, [int(row.status.session.state is state) for state in State], strict=True
    )


def _writes(row: Row) -> Samples:
    return zip(tails("output", row.tally.outputs), row.tally.writes(failed=False), strict=True)


def _output_failures(row: Row) -> Samples:
    return zip(tails("output", row.tally.outputs), row.tally.writes(failed=True), strict=True)


def _last_writes(row: Row) -> Samples:
    written = {output.name: output.written_at for output in row.status.outputs}
    times = [_unix(row, written.get(output)) for output in row.tally.outputs]
    return zip(tails("output", row.tally.outputs), times, strict=True)


def _expiry(row: Row) -> float | str:
    token = row.status.session.token
    return _unix(row, None if token is None else token.expires_at)


def _issued(row: Row) -> float | str:
    token = row.status.session.token
    return _unix(row, None if token is None else token.issued_at)


def _unix(row: Row, instant: Instant | None) -> float | str:
    if instant is None:
        return 0
    return "+Inf" if isinf(instant) else round(instant + row.offset, 3)


def _counter(name: str, text: str, samples: Callable[[Row], Samples]) -> Family:
    return Family(f"refresherd_{name}_total", "counter", text, samples)


def _gauges(name: str, text: str, samples: Callable[[Row], Samples]) -> Family:
    return Family(f"refresherd_{name}", "gauge", text, samples)


def _gauge(name: str, text: str, value: Callable[[Row], float | str]) -> Family:
    return _gauges(name, text, lambda row: (("}", value(row)),))


# An expiry is kept when the token has run out, and is 0 without a token: either
# way `time() > refresherd_token_expiry_timestamp_seconds` says that consumers have none.
FAMILIES = (
    _counter(
        "refresh_attempts", "Requests for a session, or to keep one from idling out.", _attempts
    ),
    _counter("refresh_failures", "Attempts that came to nothing, by why.", _failures),
    _gauge(
        "token_expiry_timestamp_seconds",
        "When the newest token runs out or ran out, in unix time; 0 without one.",
        _expiry,
    ),
    _gauge(
        "token_issued_timestamp_seconds",
        "When the newest token was asked for, in unix time; 0 without one.",
        _issued,
    ),
    _gauge(
        "next_refresh_timestamp_seconds",
        "When the next attempt is due, in unix time.",
        lambda row: _unix(row, row.status.session.next_attempt_at),
    ),
    _gauge(
        "last_refresh_success_timestamp_seconds",
        "When an attempt last succeeded, in unix time; 0 for never.",
        lambda row: _unix(row, row.status.session.last_success_at),
    ),
    _gauge(
        "token_generation",
        "How many tokens were issued; 0 for none.",
        lambda row: row.status.session.generation,
    ),
    _gauge(
        "consecutive_failures",
        "Attempts that have failed since one last succeeded.",
        lambda row: row.status.session.failures,
    ),
    _gauge(
        "app_ready",
        "Whether there is a valid token and every output holds it.",
        lambda row: int(row.ready),
    ),
    _gauges("app_state", "1 for the state that the app is in.", _states),
    _counter("output_writes", "Tokens that the output was given.", _writes),
    _counter("output_failures", "Failed tries to bring the output up to date.", _output_failures),
    _gauges(
        "output_last_write_timestamp_seconds",
        "When the output was given the token it holds, in unix time; 0 if it holds none.",
        _last_writes,
    ),
    _counter("hook_runs", "Runs of the app's hooks, by how they went.", _hooks),
    _counter(
        "sessions_terminated", "Replaced sessions that were to end, by how it went.", _endings
    ),
)
