"""An API key on a command's standard output."""

from collections.abc import Mapping

from refresherd.adapters.credentials.parse import LONGEST, api_key, unreadable
from refresherd.domain.model import Secret
from refresherd.domain.redaction import MASK, SHORTEST, redact_quoted
from refresherd.host import subprocesses
from refresherd.host.subprocesses import Program, Tail


class CommandSource:
    """A command that prints an API key: a password manager's, a cloud's.

    It gets `timeout` seconds, as the attempt that it is part of: one that hangs leaves time for
    another while the token lives.
    """

    def __init__(self, argv: tuple[str, ...], environ: Mapping[str, str], timeout: float) -> None:
        self._program = Program(argv, environ)
        self._timeout = timeout
        self._entity_id = ""

    @property
    def entity_id(self) -> str:
        """The app's UUID as the key last printed names it, "" before."""
        return self._entity_id

    async def read(self) -> Secret:
        """Run the command and return the API key that it prints. Raises Retryable.

        It gets no input. After the timeout, or on cancellation, it is ended with its children.
        """
        name = self._program.argv[0]
        parsed = api_key(await _printed(self._program, self._timeout), name)
        self._entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> None:
        """Return None: only running the command could tell."""


class _Key:
    """What should be the key; a command that goes on and on is not waited for."""

    def __init__(self) -> None:
        self.raw = b""

    def take(self, piece: bytes) -> bool:
        """Take a piece, if there is still room."""
        self.raw += piece
        return len(self.raw) <= LONGEST


async def _printed(program: Program, timeout: float) -> bytes:
    key, complaints = _Key(), Tail()
    name = program.argv[0]
    try:
        status = await subprocesses.run(program, timeout, key.take, complaints.take)
    except TimeoutError:
        raise unreadable(name, f"not done within {timeout:g} s") from None
    except OSError as error:
        raise unreadable(name, error.strerror) from None
    if status and len(key.raw) <= LONGEST:
        raise unreadable(name, _without(key.raw, complaints.complaint(status)))
    return key.raw


def _without(printed: bytes, complaint: str) -> str:
    """Take out of a complaint what the command has printed: a shell that traces tells it twice."""
    said = printed.decode(errors="replace")
    for word in said.split():
        if len(word) >= SHORTEST:
            complaint = complaint.replace(word, MASK)
    return redact_quoted(complaint, said.strip())
