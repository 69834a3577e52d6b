"""One credential's logins: which are under way, who waits for those, what came of the earlier."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

from refresherd.domain import login_budget
from refresherd.domain.errors import DsmError, Reason, Rejected, Retryable
from refresherd.domain.login_budget import History
from refresherd.domain.model import Instant
from refresherd.engine.ports import Alarm, Clock
from refresherd.engine.write_ahead import WriteAhead


@dataclass(slots=True, eq=False)
class KeyHistory:
    """What is known of a credential, and who logs in with it or waits to.

    `records` has every credential's history as it is if this run ends now. `refusals` counts
    those of this run, `refusal` is what the last of them said.
    """

    name: str
    history: History
    records: dict[str, History]
    under_way: list["LoginSlot"] = field(default_factory=list)
    line: dict[Alarm, None] = field(default_factory=dict)
    refusals: int = 0
    refusal: str = ""

    def idle(self) -> bool:
        """Return whether there is nothing to be remembered."""
        return not (self.under_way or self.line or self.history.failed)

    def record(self, now: Instant) -> None:
        """Have on record what is known; a login that has begun is cut off as yet."""
        self.history = login_budget.recent(self.history, now)
        begun = tuple(turn.begun_at for turn in self.under_way if turn.begun_at is not None)
        if self.history.failed or begun:
            cut_off = (*self.history.cut_off, *begun)
            self.records[self.name] = replace(self.history, cut_off=cut_off)
        else:
            self.records.pop(self.name, None)

    def settle(self, turn: "LoginSlot", error: BaseException | None, now: Instant) -> None:
        """Take note of what came of a login, and have others see whether it is their turn."""
        self.under_way.remove(turn)
        most = login_budget.FREE
        if turn.begun_at is not None:
            self.history = _outcome(error)(self.history, now)
            self.record(now)
            if isinstance(error, DsmError) and _refused(error):
                self.refusals += 1
                self.refusal, most = error.message, len(self.line)
        # Those who find no room wait on, and keep their place.
        for alarm in tuple(islice(self.line, most)):
            alarm.ring()


class LoginSlot:
    """A login's turn; `begun_at` is None as long as nothing can have been sent."""

    __slots__ = ("_account", "_clock", "_write_ahead", "begun_at")

    def __init__(self, account: KeyHistory, write_ahead: WriteAhead, clock: Clock) -> None:
        self._account = account
        self._write_ahead = write_ahead
        self._clock = clock
        self.begun_at: Instant | None = None

    async def begin(self) -> None:
        """Have it on record that the login is sent, or as good as sent."""
        self.begun_at = self._clock.now()
        self._account.record(self.begun_at)
        await self._write_ahead.written()


def _outcome(error: BaseException | None) -> Callable[[History, Instant], History]:
    """Return what a login's end makes of its credential's history."""
    if error is None:
        return login_budget.good
    if not isinstance(error, DsmError):
        return login_budget.cut_off
    if error.reason is Reason.MFA_REQUIRED:
        # DSM took the key, and only then asked for more.
        return login_budget.good
    return login_budget.refused if _refused(error) else lambda history, _: history


def _refused(error: DsmError) -> bool:
    """Return whether DSM judged the credential and did not like it.

    What is not answered, or with overload, says nothing: an outage must not use up a budget.
    """
    if isinstance(error, Retryable):
        return error.counted
    return isinstance(error, Rejected) and error.reason is Reason.REJECTED
