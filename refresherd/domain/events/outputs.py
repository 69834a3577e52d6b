"""What happens on a token's way to its consumers."""

from dataclasses import dataclass
from enum import StrEnum


class HookResult(StrEnum):
    """How a hook went: the `result` label."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class OutputWritten:
    """An output holds a token now."""

    app: str
    output: str
    generation: int


@dataclass(frozen=True, slots=True)
class OutputRemoved:
    """An output was emptied: its token is dead, or expired and not to be kept."""

    app: str
    output: str


@dataclass(frozen=True, slots=True)
class OutputFailed:
    """An output could not be brought up to date; it is tried again in `retry_in` seconds."""

    app: str
    output: str
    message: str
    retry_in: float


@dataclass(frozen=True, slots=True)
class HookRan:
    """A hook was run for a new token.

    `message` says why it came to nothing, if it did; else what its command printed, if anything.
    """

    app: str
    hook: str
    result: HookResult
    duration: float
    message: str = ""
