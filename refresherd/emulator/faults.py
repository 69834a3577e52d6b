"""Faults on demand: which requests they apply to, and what they do to the answer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import responses
from typing import Any, Final, Literal

from refresherd.emulator.apps import App
from refresherd.emulator.dsm import JSON, ROUTES, TEXT, Answer
from refresherd.emulator.fields import Field, did_you_mean

OPERATIONS: Final = tuple(operation for _, operation in ROUTES.values())

FIELDS: Final[Mapping[str, Field]] = {
    # Which requests.
    "operation": Field(
        "string", f"{', '.join(OPERATIONS)}, or a path; * is any, the default", "reauth"
    ),
    "app": Field("string", "the name or the UUID of an app; * is any, the default", "app-1"),
    "times": Field("whole number", "how many requests; by default all, until it is removed", 3),
    # In place of DSM's answer; the request is not carried out.
    "status": Field("whole number", "the HTTP status, from 200 to 599", 503),
    "body": Field("string", "the body, with a status; by default an error's standard text", ""),
    "content_type": Field("string", "with a status; by default plain text", "text/html"),
    "redirect": Field(
        "string", "the URL to redirect to, with 307 or the status", "https://other.example/"
    ),
    "hang": Field("true or false", "never answer", example=True),
    "reset": Field(
        "string",
        '"before" resets the TCP connection; "during" carries the request out, sends half of the '
        "answer, and resets the connection then",
        "before",
    ),
    # Changes to DSM's answer; the request is carried out.
    "fields": Field("object", "fields of the answer to replace or to add", {"expires_in": 0}),
    "missing": Field("list of strings", "fields of the answer to remove", ["access_token"]),
    "expires_in_skew": Field("whole number", "seconds to add to expires_in", -60),
    "padding": Field("whole number", "bytes by which to enlarge the answer", 2000),
    "truncate": Field("whole number", "close the connection after this many bytes of the body", 20),
    # In both cases.
    "headers": Field("object", "headers to add", {"Retry-After": "3"}),
    "delay": Field("number", "seconds before the answer", 0.5),
    "drip": Field("number", "seconds before each byte of the body", 0.1),
}
"""What each field of a fault does."""

HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[^\x00\r\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, and for which requests; the fields of one fault work together.

    FIELDS explains them. Raises ValueError or TypeError for a combination that makes no sense.
    """

    operation: str = "*"
    app: str = "*"
    times: int | None = None
    status: int | None = None
    body: str | bytes | None = None
    content_type: str | None = None
    redirect: str | None = None
    hang: bool = False
    reset: Literal["before", "during"] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()
    expires_in_skew: int = 0
    padding: int = 0
    truncate: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0

    def __post_init__(self) -> None:
        # Copies, because a fault is a value. JSON may give numbers for header values.
        object.__setattr__(self, "fields", dict(self.fields))
        object.__setattr__(self, "headers", {k: str(v) for k, v in dict(self.headers).items()})
        object.__setattr__(self, "missing", tuple(self.missing))
        if not self.operation.startswith("/") and self.operation not in ("*", *OPERATIONS):
            meant = did_you_mean(self.operation, OPERATIONS, "the operations")
            raise ValueError(f'operation: there is no "{self.operation}"; {meant}')
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1, or null for no limit")
        if self.status is not None and not 200 <= self.status <= 599:  # noqa: PLR2004 - HTTP's range
            raise ValueError("status: must be from 200 to 599")
        if self.reset not in (None, "before", "during"):
            raise ValueError('reset: must be "before" or "during"')
        if min(self.padding, self.truncate or 0, self.delay, self.drip) < 0:
            raise ValueError("padding, truncate, delay and drip must not be negative")
        if self.status is None and (self.body is not None or self.content_type is not None):
            raise ValueError("body and content_type need a status; write one, such as 200")
        own = ("Location", self.redirect or ""), ("Content-Type", self.content_type or "")
        for name, value in (*self.headers.items(), *own):
            if HEADER.fullmatch(f"{name}: {value}") is None:
                raise ValueError(f"headers: {name!r} is not the name and the value of a header")

    @property
    def replaces_answer(self) -> bool:
        """Whether this answers in DSM's place, so that the request is not carried out."""
        answers = self.status is not None or self.redirect is not None
        return answers or self.hang or self.reset == "before"

    def own_answer(self) -> Answer:
        """Return the answer in DSM's place."""
        status = self.status or (307 if self.redirect else 200)
        body = self.body
        if body is None:
            body = responses.get(status, "Error") if status >= HTTPStatus.BAD_REQUEST else ""
        location = {"Location": self.redirect} if self.redirect else {}
        body = body.encode() if isinstance(body, str) else body
        return Answer(status, body, self.content_type or TEXT, {**self.headers, **location})

    def alter(self, answer: Answer) -> Answer:
        """Return DSM's answer with this fault's changes; those to fields need a JSON object."""
        altered = replace(answer, headers={**answer.headers, **self.headers})
        if answer.content_type != JSON or not answer.body.startswith(b"{"):
            return altered
        value: dict[str, Any] = json.loads(answer.body)
        if self.expires_in_skew and "expires_in" in value:
            value["expires_in"] += self.expires_in_skew
        if self.padding:
            value["padding"] = "x" * self.padding
        value.update(self.fields)
        value = {name: value[name] for name in value if name not in self.missing}
        return replace(altered, body=json.dumps(value).encode())


class Faults:
    """The active faults; a request gets the oldest that applies to it, and no other."""

    def __init__(self) -> None:
        self._faults: dict[int, tuple[Fault, int | None]] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[tuple[int, Fault]]:
        return iter([(number, fault) for number, (fault, _) in self._faults.items()])

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, fault: Fault) -> int:
        """Activate a fault and return its number."""
        self._last_id += 1
        self._faults[self._last_id] = (fault, fault.times)
        return self._last_id

    def remove(self, number: int) -> bool:
        """Remove a fault; False if it is not active, for instance because `times` is used up."""
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def take(self, operation: str, path: str, app: App | None) -> Fault | None:
        """Return the fault for a request and count it against `times`; None without one."""
        names = ("*", app.id, app.name) if app else ("*",)
        for number, (fault, left) in self._faults.items():
            if fault.operation in ("*", operation, path) and fault.app in names:
                if left == 1:
                    del self._faults[number]
                elif left is not None:
                    self._faults[number] = (fault, left - 1)
                return fault
        return None
