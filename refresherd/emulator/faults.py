"""Faults on demand: which requests they apply to, and what they do to the answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal

from refresherd.emulator.dsm import JSON, ROUTES, TEXT, Answer
from refresherd.emulator.state import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, and for which requests; the fields of one fault work together.

    Raises ValueError or TypeError for a combination that makes no sense.
    """

    # Which requests.
    operation: str = "*"
    """auth, reauth, refresh, terminate, health, version, keys, or a path; "*" is any."""
    app: str = "*"
    """The UUID or name of an app; "*" is any."""
    times: int | None = None
    """How many requests it applies to; None is all until it is removed."""

    # Instead of DSM's answer; the request is not carried out.
    status: int | None = None
    body: str | bytes | None = None
    """By default the status' phrase for an error, empty otherwise; needs a `status`."""
    content_type: str | None = None
    """By default plain text; needs a `status`."""
    redirect: str | None = None
    """The URL to redirect to, with 307 unless `status` says otherwise."""
    hang: bool = False
    """Never answer."""
    reset: Literal["before", "during"] | None = None
    """Reset the TCP connection; "during" carries the request out and sends half the answer."""

    # Done to DSM's answer; the request is carried out.
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Replaces or adds fields of a JSON object."""
    missing: Sequence[str] = ()
    """Removes fields of a JSON object."""
    expires_in_skew: int = 0
    """Seconds to add to `expires_in`."""
    padding: int = 0
    """Adds a field of this many bytes."""
    truncate: int | None = None
    """Closes the connection after this many bytes of the body."""

    # With either.
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to add."""
    delay: float = 0.0
    """Seconds before the answer."""
    drip: float = 0.0
    """Seconds before each byte of the body."""

    def __post_init__(self) -> None:
        # Copies, because a fault is a value. JSON may give numbers for header values.
        object.__setattr__(self, "fields", dict(self.fields))
        object.__setattr__(self, "headers", {k: str(v) for k, v in dict(self.headers).items()})
        object.__setattr__(self, "missing", tuple(self.missing))
        operations = [operation for _, operation in ROUTES.values()]
        if not self.operation.startswith("/") and self.operation not in ("*", *operations):
            raise ValueError(f"operation must be a path, * or one of {', '.join(operations)}")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1, or null for no limit")
        if self.status is not None and not 200 <= self.status <= 599:  # noqa: PLR2004 - HTTP's range
            raise ValueError("status must be from 200 to 599")
        if self.reset not in (None, "before", "during"):
            raise ValueError('reset must be "before" or "during"')
        if min(self.padding, self.truncate or 0, self.delay, self.drip) < 0:
            raise ValueError("padding, truncate, delay and drip must not be negative")
        if self.status is None and (self.body is not None or self.content_type is not None):
            raise ValueError("body and content_type need a status")

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
            body = HTTPStatus(status).phrase if status >= HTTPStatus.BAD_REQUEST else ""
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
