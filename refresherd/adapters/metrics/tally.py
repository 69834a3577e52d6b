"""One app's counters, packed: at 10,000 apps prometheus_client's own would cost 15 KiB each."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import product

from refresherd.domain.errors import Reason
from refresherd.domain.events import Ending, HookResult
from refresherd.domain.model import Method

METHODS = tuple(Method)
ENDINGS = tuple(Ending)
RESULTS = tuple(HookResult)
FAILURES = (
    *product(METHODS, (reason for reason in Reason if reason is not Reason.CREDENTIAL)),
    # A credential that cannot be read only ever stands in the way of a login.
    (Method.AUTH, Reason.CREDENTIAL),
)

_ATTEMPT = {method: place for place, method in enumerate(METHODS)}
_FAILURE = {failure: place for place, failure in enumerate(FAILURES, len(METHODS))}
_ENDING = {ending: place for place, ending in enumerate(ENDINGS, len(METHODS) + len(FAILURES))}
_HOOKS = len(METHODS) + len(FAILURES) + len(ENDINGS)
_RESULT = {result: place for place, result in enumerate(RESULTS, _HOOKS)}
_OUTPUTS = _HOOKS + len(RESULTS)
"""From here on: writes and failures of each output in turn."""

ATTEMPTED = slice(0, len(METHODS))
FAILED = slice(len(METHODS), len(METHODS) + len(FAILURES))
ENDED = slice(len(METHODS) + len(FAILURES), _HOOKS)
HOOKED = slice(_HOOKS, _OUTPUTS)


class Tally:
    """How often what happened to an app since it was added.

    `counts[ATTEMPTED]` goes by METHODS, `counts[FAILED]` by FAILURES, `counts[ENDED]` by ENDINGS,
    `counts[HOOKED]` by RESULTS.
    """

    __slots__ = ("counts", "name", "outputs")

    def __init__(self, name: str, outputs: Iterable[str] = ()) -> None:
        self.name = name
        self.outputs = tuple(outputs)
        # 32 bits each: at an attempt a second they last for 136 years.
        self.counts = array("I", [0] * (_OUTPUTS + 2 * len(self.outputs)))

    def attempt(self, method: Method) -> None:
        """Count an attempt."""
        self.counts[_ATTEMPT[method]] += 1

    def fail(self, method: Method, reason: Reason) -> None:
        """Count a failed attempt."""
        self.counts[_FAILURE[Method.AUTH if reason is Reason.CREDENTIAL else method, reason]] += 1

    def end(self, ending: Ending) -> None:
        """Count the end of a replaced session."""
        self.counts[_ENDING[ending]] += 1

    def hook(self, result: HookResult) -> None:
        """Count a run of a hook."""
        self.counts[_RESULT[result]] += 1

    def write(self, output: str, *, failed: bool) -> None:
        """Count a write to one of the outputs, or the failure of one."""
        if output in self.outputs:
            self.counts[_OUTPUTS + 2 * self.outputs.index(output) + failed] += 1

    def writes(self, *, failed: bool) -> Sequence[int]:
        """Return the writes by `outputs`, or their failures."""
        return self.counts[_OUTPUTS + failed :: 2]

    def with_outputs(self, outputs: Iterable[str]) -> "Tally":
        """Return the same counts for an app whose outputs were changed."""
        changed = Tally(self.name, outputs)
        changed.counts[:_OUTPUTS] = self.counts[:_OUTPUTS]
        for old, output in enumerate(self.outputs):
            if output in changed.outputs:
                new = changed.outputs.index(output)
                changed.counts[_pair(new)] = self.counts[_pair(old)]
        return changed


def _pair(output: int) -> slice:
    return slice(_OUTPUTS + 2 * output, _OUTPUTS + 2 * output + 2)
