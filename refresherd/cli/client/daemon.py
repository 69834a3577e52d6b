"""The running daemon, asked over its API socket."""

from collections.abc import Iterator
from io import BufferedReader

from refresherd.cli.client.answer import Answer
from refresherd.cli.client.exchange import message, sent
from refresherd.cli.client.failures import Unintelligible
from refresherd.cli.client.patience import Patience

OK = 200

CONNECTING = 5.0
"""Seconds within which a daemon that is not stuck takes up a connection."""

MARGIN = 5.0
"""Seconds beyond what the daemon is told to wait, for the answer to arrive."""


class Daemon:
    """A daemon by the path of its socket; what it will not do is raised as a CommandError.

    Times in seconds; a `timeout` bounds each wait for a part of the answer.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def token(self, app: str, form: str, *, min_ttl: float, wait: float) -> bytes:
        """Return an app's token in a format, waiting so long for one that lives `min_ttl`."""
        target = f"/v1/apps/{app}/token?format={form}&wait={_number(wait)}"
        if min_ttl:
            target += f"&min_ttl={_number(min_ttl)}"
        return self._ask("GET", target, app, wait + MARGIN)

    def statuses(self, timeout: float) -> bytes:
        """Return the status of every app, as the daemon's JSON."""
        return self._ask("GET", "/v1/apps", "", timeout)

    def status(self, app: str, timeout: float) -> bytes:
        """Return the status of one app, as the daemon's JSON."""
        return self._ask("GET", f"/v1/apps/{app}", app, timeout)

    def refresh(self, app: str, wait: float) -> bytes:
        """Have an app refreshed, and return its status after that or after `wait`, if sooner."""
        target = f"/v1/apps/{app}/refresh?wait={_number(wait)}"
        return self._ask("POST", target, app, wait + MARGIN)

    def tokens(self, app: str) -> Iterator[bytes]:
        """Yield a line of JSON for the current token and each new one, till the daemon stops."""
        with message(self._path, CONNECTING):
            connection = sent(self._path, "GET", f"/v1/apps/{app}/token?watch=1", CONNECTING)
            connection.settimeout(None)
            with connection, BufferedReader(Patience(connection)) as stream:
                yield from self._granted(Answer(stream), app).lines()

    def _ask(self, method: str, target: str, app: str, timeout: float) -> bytes:
        with message(self._path, timeout):
            connection = sent(self._path, method, target, timeout)
            with connection, connection.makefile("rb") as stream:
                body = self._granted(Answer(stream), app).body()
        if not body:
            raise Unintelligible(f"{self._path} gave an empty answer")
        return body

    def _granted(self, answer: Answer, app: str) -> Answer:
        """Return an answer that holds what was asked for; any other is raised."""
        if answer.status != OK:
            # Needed only now, and a tenth of the time that all else takes to import.
            from refresherd.cli.client.problem import refusal  # noqa: PLC0415

            raise refusal(answer, app, lambda: self.statuses(CONNECTING))
        return answer


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
