"""One app's status in words, as the status page, `status` and the demo show it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import floor, isfinite
from typing import Any

from refresherd.domain.durations import ago, in_seconds, span
from refresherd.domain.life import Life, life
from refresherd.domain.words import NONE, count, urgency

Fields = Mapping[str, Any]
"""What `report.fields` returns, or a part of it."""


@dataclass(frozen=True, slots=True)
class OutputRow:
    """An output, and what it holds."""

    name: str
    holds: str
    error: str
    cut_off: bool
    """Whether its consumers have no valid token because it cannot be updated."""
    left: float
    """For how many seconds its token is valid; at most 0 if it is not, or there is none."""


@dataclass(frozen=True, slots=True)
class HookRow:
    """A hook, and how its last run ended."""

    name: str
    last_run: str
    failed: bool
    message: str
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """A consumer, and when it last got the token."""

    who: str
    ago: str


class AppRow:
    """What people read about an app, made from the fields that programs read."""

    def __init__(self, fields: Fields, now: float) -> None:
        """Read an app's fields; `now` is in unix seconds.

        Raises LookupError, TypeError or ValueError for fields of another form.
        """
        # The dates are in whole seconds, so with `now` rounded down times are at most a second off.
        self._now = floor(now)
        self.name = str(fields["name"])
        self.state = str(fields["state"])
        self.ready = bool(fields["ready"])
        self.troubled = bool(fields["troubled"])
        self.lost = bool(fields["lost"])
        """Whether trouble leaves some consumers without a valid token."""
        self.generation = int(fields["generation"])
        self.failures = int(fields["consecutive_failures"])
        self.error = str(fields["last_error"] or "")
        self.remedy = str(fields["remedy"] or "")
        self._current = all(output["current"] for output in fields["outputs"])
        self.outputs = tuple(map(self._output, fields["outputs"]))
        self.hooks = tuple(map(self._hook, fields["hooks"]))
        self.consumers = tuple(map(self._consumer, fields["consumers"]))
        self.facts = tuple(self._facts(fields))
        self._left = self._until(fields["expires_at"])
        self._due = self._until(fields["next_refresh_at"])
        self._lifetime = _seconds(fields["lifetime_seconds"])
        self._budget = _seconds(fields["outage_budget_seconds"])
        self._failing_since = self._time_of(fields["failing_since"])
        self._failed = self._ago(fields["last_error_at"])

    @property
    def urgency(self) -> int:
        """Its place in the order in which operators should look at apps, from 0."""
        return urgency(self.state, troubled=self.troubled)

    @property
    def valid(self) -> bool:
        """Whether consumers have a valid token."""
        return self._left is not None and self._left > 0

    @property
    def delivery(self) -> str:
        """A remark that an output is not up to date yet, "" if every output is."""
        late = self.valid and not self.ready and not self._current
        return "an output does not hold the token" if late else ""

    @property
    def expires_in(self) -> str:
        """How long the token is still valid, or how long ago it expired."""
        if self._left is None:
            return NONE
        return span(self._left) if self._left > 0 else ago(-self._left)

    @property
    def next_refresh_in(self) -> str:
        """When the next attempt is due."""
        if self._due is None:
            return NONE
        return span(self._due) if self._due >= 1 else "now"

    @property
    def outage_budget(self) -> str:
        """How long DSM may fail before the token expires."""
        return NONE if self._budget is None else span(self._budget)

    @property
    def consequence(self) -> str:
        """What the trouble means for consumers: whether, and for how long, they have a token."""
        if self._left is None and self.generation and self._failing_since:
            # DSM ended the session: that was found out by the first attempt that failed.
            return f"Consumers have had no valid token since {self._failing_since}."
        if self._left is None:
            return "Consumers have no token yet."
        cut_off = ", ".join(output.name for output in self.outputs if output.cut_off)
        if self._left > 0 and cut_off:
            return f"Consumers of {cut_off} have no valid token."
        late = min(self.outputs, key=lambda output: output.left, default=None)
        if late is not None and late.error and 0 < late.left < self._left:
            return f"Consumers of {late.name} have a valid token for another {span(late.left)}."
        if self._left > 0:
            return f"Consumers have a valid token for another {span(self._left)}."
        return f"Consumers have had no valid token for {span(-self._left)}."

    @property
    def next_attempt(self) -> str:
        """When the next attempt is due, as a part of a sentence; "" if none is planned."""
        due = self.next_refresh_in
        return "" if due == NONE else "due" if due == "now" else f"in {due}"

    @property
    def since(self) -> str:
        """When attempts began to fail, how many have failed, and when the next one is due."""
        when = self._failing_since
        if not when:
            return ""
        text = f"The attempt at {when} failed."
        if self.failures > 1:
            last = f"the last one {self._failed}"
            text = f"{self.failures} attempts have failed since {when}, {last}."
        return f"{text} The next attempt is {self.next_attempt}." if self.next_attempt else text

    @property
    def life(self) -> Life | None:
        """The token's life, None without a token."""
        if self._left is None or self._lifetime is None:
            return None
        # Keeping a token alive begins its life anew, so the date of its issue does not count.
        began = self._left - self._lifetime
        return life(began, self._left, self._due, self._budget, 0.0)

    @property
    def no_life(self) -> str:
        """What stands in the place of the bar if there is none."""
        return "no token" if self.generation else "no token yet"

    @property
    def life_text(self) -> str:
        """The token's life in words."""
        if not self.valid or self._lifetime is None:
            return "No valid token" + ("" if self._left is None else f", expired {self.expires_in}")
        return (
            f"{self.expires_in} of {span(self._lifetime)} left, next refresh in "
            f"{self.next_refresh_in}, outage budget {self.outage_budget}"
        )

    @property
    def errors(self) -> Iterator[str]:
        """What is wrong: the last attempt, then outputs, then hooks."""
        if self.error:
            yield self.error
        yield from (output.error for output in self.outputs if output.error)
        yield from (f"{hook.name}: {hook.message}" for hook in self.hooks if hook.failed)

    @property
    def brief(self) -> str:
        """What is wrong, on one line, "" if nothing is."""
        return "; ".join(self.errors) or self.delivery

    @property
    def trouble(self) -> Iterator[str]:
        """What the trouble means for consumers, what it is, and what to do; a line each."""
        if not self.troubled:
            return
        yield self.consequence
        for error in self.errors:
            yield error
            if error == self.error:
                yield self.since
        if self.remedy:
            yield f"What to do: {self.remedy}"

    @property
    def summary(self) -> str:
        """How many outputs, hooks and consumers the app has."""
        parts = [count(len(self.outputs), "output")]
        if self.hooks:
            parts.append(count(len(self.hooks), "hook"))
        if self.consumers:
            parts.append(f"{count(len(self.consumers), 'consumer')} on sockets")
        return ", ".join(parts)

    @property
    def details(self) -> Iterator[tuple[str, str]]:
        """Everything known about the app besides its trouble, as pairs of term and text."""
        yield from ((output.name, output.holds) for output in self.outputs)
        yield from ((hook.name, hook.last_run) for hook in self.hooks)
        for consumer in self.consumers:
            yield f"consumer {consumer.who}", f"asked {consumer.ago}"
        yield from self.facts

    def _output(self, output: Fields) -> OutputRow:
        held, written = output["generation"], output["written_at"]
        holds = "holds no token"
        if held is not None:
            token = "the newest token" if output["current"] else f"token {held}"
            when = "" if written is None else f", written {self._ago(written)}"
            expired = "" if output["valid"] else ", which has expired"
            holds = f"holds {token}{expired}{when}"
        error = str(output["error"] or "")
        cut_off = bool(error) and not output["valid"]
        left = self._until(output["expires_at"]) or 0.0
        return OutputRow(str(output["path"]), holds, error, cut_off, left)

    def _hook(self, hook: Fields) -> HookRow:
        name, result, took = str(hook["name"]), hook["result"], hook["duration_seconds"]
        if result is None or took is None:
            return HookRow(name, "has not run yet", failed=False, message="")
        last_run = f"{result} {self._ago(hook['ran_at'])}, took {in_seconds(float(took))}"
        failed = result != "ok"
        message = str(hook["message"] or result) if failed else ""
        return HookRow(name, last_run, failed=failed, message=message)

    def _consumer(self, consumer: Fields) -> ConsumerRow:
        user, unit = consumer["user"] or f"uid {consumer['uid']}", consumer["unit"]
        who = f"{user} in {unit}" if unit else str(user)
        return ConsumerRow(who, self._ago(consumer["asked_at"]))

    def _facts(self, fields: Fields) -> Iterator[tuple[str, str]]:
        yield "endpoint", str(fields["endpoint"])
        yield "renewed by", str(fields["renew"])
        yield "generation", str(self.generation or NONE)
        if fields["last_refresh_success_at"] is not None:
            yield "last refresh", self._ago(fields["last_refresh_success_at"])
        if fields["refused_logins"] is not None:
            limit = fields["refused_logins_limit"]
            yield "refused logins", f"{fields['refused_logins']} of {limit} allowed within 24 hours"

    def _until(self, date: str | None) -> float | None:
        """Return how many seconds it is to a date."""
        return None if date is None else datetime.fromisoformat(date).timestamp() - self._now

    def _ago(self, date: str | None) -> str:
        seconds = self._until(date)
        return NONE if seconds is None else ago(-seconds)

    def _time_of(self, date: str | None) -> str:
        """Return a date as `10:00:00 UTC (5s ago)`, "" for None."""
        return "" if date is None else f"{date[11:19]} UTC ({self._ago(date)})"


def _seconds(number: float | None) -> float | None:
    if number is None:
        return None
    if not isfinite(number):
        raise ValueError("not a number of seconds")
    return float(number)
