"""A request to DSM with its answer, and what messages may quote of the answer."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

from refresherd.domain.model import Secret
from refresherd.domain.redaction import redact_quoted, truncate

LONGEST_REQUEST_ID = 128
"""In characters. DSM's are UUIDs."""

EXAMINED = 4096
"""Characters of a body that an excerpt is made from; bounds the work of the patterns."""

TAG = re.compile(r"<[^>]*>")


class Operation(Enum):
    """A request, with the paths and schemes of DSM's API description. Each is a bodiless POST."""

    LOGIN = ("/sys/v1/session/auth", "Basic", True)
    LOGIN_BY_TOKEN = ("/sys/v1/session/reauth", "Bearer", True)
    """The first login of an app whose only credential is a bearer token."""
    REAUTH = ("/sys/v1/session/reauth", "Bearer", False)
    KEEP_ALIVE = ("/sys/v1/session/refresh", "Bearer", False)
    TERMINATE = ("/sys/v1/session/terminate", "Bearer", False)

    def __init__(self, path: str, scheme: str, is_login: bool) -> None:  # noqa: FBT001  # an Enum passes its values by position
        self.path = path
        self.scheme = scheme
        """The Authorization header's scheme."""
        self.is_login = is_login
        """Whether a refusal is final: there is no other credential to fall back to."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer."""

    operation: Operation
    sent: Secret
    """The credential or token of the request, which the answer may echo."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Looked up by the names' usual spelling."""
    body: bytes = field(repr=False)
    wall: float
    """When the answer came, in unix seconds."""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx: DSM's API description promises no particular one."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_web_page(self) -> bool:
        """Whether the answer is markup, for instance of a proxy or a login portal."""
        return "html" in self.content_type.lower() or self.body.lstrip()[:1] == b"<"

    @property
    def content_type(self) -> str:
        """The answer's Content-Type, "" if it has none."""
        return self.headers.get("Content-Type", "")

    @property
    def request_id(self) -> str:
        """The answer's `x-request-id`, "" if it has none."""
        return self.quote(self.headers.get("X-Request-Id", ""), LONGEST_REQUEST_ID)

    def excerpt(self) -> str:
        """Return the first words of the body without its markup, "" if the body is binary."""
        start = truncate(self.body.decode(errors="replace"), EXAMINED)
        return "" if "\0" in start else self.quote(html.unescape(TAG.sub(" ", start)))

    def quote(self, text: str, limit: int = 120) -> str:
        """Return text of the answer as one printable line of at most `limit` characters.

        What was sent is masked, and so is anything else that looks like a secret.
        """
        text = redact_quoted(text, self.sent.reveal())
        if not text.isprintable():
            text = "".join(char if char.isprintable() else " " for char in text)
        line = " ".join(text.split())
        return line if len(line) <= limit else line[: limit - 1] + "…"
