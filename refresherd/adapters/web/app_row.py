"""One app on the status page, in words and shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf

from refresherd.domain import formats, readiness, session_state, timing
from refresherd.domain import report as reports
from refresherd.domain.durations import ago, in_seconds, span
from refresherd.domain.life import Life, life
from refresherd.domain.login_budget import MAX_REFUSALS
from refresherd.domain.model import Instant
from refresherd.domain.readiness import OutputStatus
from refresherd.domain.report import AppReport, Consumer, HookStatus

NONE = "-"
"""Stands for a fact that there is not."""

NOW = "now"


@dataclass(frozen=True, slots=True)
class OutputRow:
    """An output: what it holds."""

    name: str
    holds: str
    error: str


@dataclass(frozen=True, slots=True)
class HookRow:
    """A hook: how its last run ended."""

    name: str
    last_run: str
    message: str
    failed: bool


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """A consumer that asked lately."""

    who: str
    ago: str


class AppRow:
    """What the template reads of an app."""

    def __init__(self, report: AppReport, now: Instant, offset: float) -> None:
        self._report = report
        self._now = now
        self._offset = offset
        session, app = report.status.session, report.app
        self.name = app.name
        self.state = session.state.value
        self.troubled = reports.troubled(report)
        self.lost = reports.lost(report, now)
        self.remedy = reports.remedy(report)
        token = session.token
        self._token = session_state.valid_token(session, now)
        self._budget = None if token is None else timing.outage_budget(token.lifetime, app.timing)
        self._due = None if isinf(session.next_attempt_at) else session.next_attempt_at
        failure = session.last_failure
        self.error = "" if failure is None else f"{failure.reason}: {failure.message}"

    @property
    def delivery(self) -> str:
        """That an output lags, "" if none does."""
        token = self._token
        if token is None or readiness.delivered(self._report.status, self._now):
            return ""
        return "an output does not hold the token"

    @property
    def expires_in(self) -> str:
        """How long the token is valid, or since when it is not."""
        token = self._report.status.session.token
        if token is None:
            return NONE
        left = token.expires_at - self._now
        return span(left) if left > 0 else f"over {span(-left)}"

    @property
    def next_refresh_in(self) -> str:
        """When the next attempt is due."""
        if self._due is None:
            return NONE
        wait = self._due - self._now
        return span(wait) if wait >= 1 else NOW

    @property
    def outage_budget(self) -> str:
        """How long DSM may fail before the token expires."""
        return NONE if self._budget is None else span(self._budget)

    @property
    def consumers_can_live(self) -> str:
        """How long consumers can still live with the trouble."""
        token = self._report.status.session.token
        cut_off = reports.cut_off(self._report, self._now)
        if cut_off:
            return f"Consumers of {', '.join(cut_off)} have no valid token."
        if self._token is not None:
            left = span(self._token.expires_at - self._now)
            return f"Consumers have a valid token for another {left}."
        if token is None:
            return "Consumers have no token."
        return f"Consumers have had no valid token for {span(self._now - token.expires_at)}."

    @property
    def since(self) -> str:
        """Since when attempts fail, how many have, and when the next one is due."""
        session = self._report.status.session
        failure = session.last_failure
        if failure is None:
            return ""
        first = f"{self._clock(failure.since)} ({ago(self._now - failure.since)})"
        failed = f"The attempt at {first} failed."
        if session.failures > 1:
            last = ago(self._now - failure.at)
            failed = f"{session.failures} attempts have failed since {first}, the last one {last}."
        due = self.next_refresh_in
        if due == NONE:
            return failed
        return f"{failed} The next attempt is {'due' if due == NOW else f'in {due}'}."

    @property
    def life(self) -> "LifeBar | None":
        """The token's life, None without a token."""
        token = self._report.status.session.token
        if token is None:
            return None
        # A token that was kept alive has lived longer: its life is counted from the last time.
        began = Instant(token.expires_at - token.lifetime)
        bar = life(began, token.expires_at, self._due, self._budget, self._now)
        return None if bar is None else LifeBar(bar)

    @property
    def life_text(self) -> str:
        """The token's life in words."""
        if self._token is None:
            return f"No valid token: {self.expires_in}"
        return (
            f"{self.expires_in} of {span(self._token.lifetime)} left, next refresh in "
            f"{self.next_refresh_in}, outage budget {self.outage_budget}"
        )

    @property
    def summary(self) -> str:
        """How much more there is to see."""
        report = self._report
        parts = [_count(len(report.status.outputs), "output")]
        if report.hooks:
            parts.append(_count(len(report.hooks), "hook"))
        if report.consumers:
            parts.append(f"{_count(len(report.consumers), 'consumer')} on sockets")
        return ", ".join(parts)

    @property
    def outputs(self) -> Iterator[OutputRow]:
        """What each output holds."""
        for output in self._report.status.outputs:
            yield OutputRow(output.name, self._holds(output), output.error)

    @property
    def hooks(self) -> Iterator[HookRow]:
        """How each hook ran last."""
        for hook in self._report.hooks:
            yield HookRow(hook.name, self._last_run(hook), hook.message, hook.failed)

    @property
    def consumers(self) -> Iterator[ConsumerRow]:
        """Who got the token from a socket lately."""
        for consumer in self._report.consumers:
            yield ConsumerRow(_who(consumer), ago(self._now - consumer.asked_at))

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """What else there is to know."""
        session, app = self._report.status.session, self._report.app
        yield "endpoint", app.endpoint.url
        yield "renewed by", app.timing.renew.value
        yield "generation", str(session.generation) if session.generation else NONE
        if session.last_success_at is not None:
            yield "last refresh", ago(self._now - session.last_success_at)
        if self._report.failed_logins is not None:
            refused = f"{self._report.failed_logins} of {MAX_REFUSALS} allowed within 24 hours"
            yield "refused logins", refused

    def _holds(self, output: OutputStatus) -> str:
        token, held = self._report.status.session.token, output.holds
        when = (
            "" if output.written_at is None else f", written {ago(self._now - output.written_at)}"
        )
        if held is None:
            return "holds no token"
        if held == token:
            return f"holds the newest token{when}"
        return f"holds token {held.generation}{when}"

    def _last_run(self, hook: HookStatus) -> str:
        if hook.result is None or hook.ran_at is None:
            return "has not run yet"
        return (
            f"{hook.result.value} {ago(self._now - hook.ran_at)}, took {in_seconds(hook.duration)}"
        )

    def _clock(self, instant: Instant) -> str:
        return f"{formats.timestamp(instant + self._offset)[11:19]} UTC"


class LifeBar:
    """A token's life as places on a scale from 0 to 100."""

    def __init__(self, bar: Life) -> None:
        self.left_from = _place(bar.now)
        self.left_width = _place(max(0.0, bar.budget - bar.now))
        self.budget_from = _place(max(bar.budget, bar.now))
        self.budget_width = _place(1.0 - max(bar.budget, bar.now))
        self.refresh_at = None if bar.refresh is None else _place(min(bar.refresh, 0.993))


def _place(share: float) -> str:
    return f"{share * 100:.4g}"


def _who(consumer: Consumer) -> str:
    user = consumer.user or f"uid {consumer.uid}"
    return f"{user} in {consumer.unit}" if consumer.unit else user


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
