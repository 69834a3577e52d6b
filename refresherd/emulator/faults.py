"""The faults that a test orders: which requests they meet, and what becomes of the answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, Literal

from refresherd.emulator.answers import JSON, TEXT, Answer
from refresherd.emulator.apps import App
from refresherd.emulator.operations import ROUTES

Reset = Literal["before", "during"]
OPERATIONS: Final = tuple(operation for _, operation in ROUTES.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, for which requests; the fields of one fault work together.

    Which: `operation` is one of auth, reauth, refresh, terminate, health, version, keys, or a path;
    `app` an app's UUID or name; "*" is any. `times` is how many requests it meets, None for ever.

    Instead of DSM's answer, in which case the request is not carried out: `status` with `body`
    (by default the status' phrase for an error, else nothing), `content_type` and `headers`;
    `redirect` to this URL (307 unless `status` says otherwise); `hang`, no answer at all;
    `reset="before"`, the connection is reset.

    Done to DSM's answer, the request having been carried out: `fields` replaces or adds fields of
    a JSON object, `missing` drops them, `expires_in_skew` (seconds) is added to `expires_in`,
    `padding` adds a field of so many bytes; `truncate` closes the connection after so many bytes
    of the body; `reset="during"` resets it after half of the body.

    With either: `delay` seconds before answering; `drip` seconds between the bytes of the body.
    Raises ValueError or TypeError for a fault that makes no sense.
    """

    operation: str = "*"
    app: str = "*"
    times: int | None = None
    status: int | None = None
    body: str | bytes | None = None
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    redirect: str | None = None
    hang: bool = False
    reset: Reset | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()
    expires_in_skew: int = 0
    padding: int = 0
    truncate: int | None = None
    delay: float = 0.0
    drip: float = 0.0

    def __post_init__(self) -> None:
        # Copies, because a fault is a value; JSON's numbers may stand for header values.
        object.__setattr__(self, "fields", dict(self.fields))
        object.__setattr__(self, "headers", {k: str(v) for k, v in dict(self.headers).items()})
        object.__setattr__(self, "missing", tuple(self.missing))
        if not self.operation.startswith("/") and self.operation not in ("*", *OPERATIONS):
            raise ValueError(f"operation is a path, * or one of {', '.join(OPERATIONS)}")
        if self.times is not None and self.times < 1:
            raise ValueError("times is at least 1, or null for ever")
        if self.status is not None and not 200 <= self.status <= 599:  # noqa: PLR2004 - HTTP's range
            raise ValueError("status is from 200 to 599")
        if self.reset not in (None, "before", "during"):
            raise ValueError('reset is "before" or "during"')
        if min(self.padding, self.truncate or 0, self.delay, self.drip) < 0:
            raise ValueError("padding, truncate, delay and drip are not negative")
        if self.status is None and (self.body is not None or self.content_type is not None):
            raise ValueError("body and content_type need a status")

    @property
    def replaces_answer(self) -> bool:
        """Whether DSM's own answer is not wanted, so that the request is not carried out."""
        return (
            self.hang
            or self.reset == "before"
            or self.status is not None
            or self.redirect is not None
        )

    def meets(self, operation: str, path: str, app: App | None) -> bool:
        """Whether the fault is meant for such a request."""
        if self.operation not in ("*", operation, path):
            return False
        return self.app == "*" or (app is not None and self.app in (app.id, app.name))

    def own_answer(self) -> Answer:
        """Return the answer given instead of DSM's."""
        status = self.status or (307 if self.redirect else 200)
        body = self.body
        if body is None:
            body = HTTPStatus(status).phrase if status >= HTTPStatus.BAD_REQUEST else ""
        location = {"Location": self.redirect} if self.redirect else {}
        return Answer(
            status,
            body.encode() if isinstance(body, str) else body,
            self.content_type or TEXT,
            {**self.headers, **location},
        )

    def alter(self, answer: Answer) -> Answer:
        """Return DSM's answer as this fault changes it; only JSON objects have fields."""
        altered = replace(answer, headers={**answer.headers, **self.headers})
        if answer.content_type != JSON or not answer.body.startswith(b"{"):
            return altered
        value: dict[str, Any] = json.loads(answer.body)
        if self.expires_in_skew and "expires_in" in value:
            value["expires_in"] += self.expires_in_skew
        if self.padding:
            value["padding"] = "x" * self.padding
        value.update(self.fields)
        kept = {name: value[name] for name in value if name not in self.missing}
        return replace(altered, body=json.dumps(kept).encode())


class Faults:
    """The faults in force, oldest first: the oldest that meets a request is the one it gets."""

    def __init__(self) -> None:
        self._faults: dict[int, tuple[Fault, int | None]] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[tuple[int, Fault]]:
        return iter([(number, fault) for number, (fault, _) in self._faults.items()])

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, fault: Fault) -> int:
        """Put a fault in force and return its number."""
        self._last_id += 1
        self._faults[self._last_id] = (fault, fault.times)
        return self._last_id

    def remove(self, number: int) -> bool:
        """Lift one fault; False if it is not in force, be it because its `times` ran out."""
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Lift all faults."""
        self._faults.clear()

    def take(self, operation: str, path: str, app: App | None) -> Fault | None:
        """Return the fault that such a request meets, counting it against its `times`."""
        for number, (fault, left) in self._faults.items():
            if fault.meets(operation, path, app):
                if left == 1:
                    del self._faults[number]
                elif left is not None:
                    self._faults[number] = (fault, left - 1)
                return fault
        return None
