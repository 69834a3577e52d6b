"""Which apps the status page shows, and in which order: a request's query."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import Any
from urllib.parse import parse_qsl, urlencode

from refresherd.domain import report as reports
from refresherd.domain.report import AppReport
from refresherd.domain.session_state import State

PAGE_SIZE = 100
"""Apps on one page."""

MAX_SEARCHED = 100
"""Characters of a search; the others are ignored."""

TROUBLED = "troubled"
"""The value of `state` that selects all apps in trouble."""


class Sort(StrEnum):
    """An order of apps."""

    URGENCY = "urgency"
    NAME = "name"
    EXPIRY = "expiry"
    REFRESH = "refresh"

    @property
    def words(self) -> str:
        """What operators read."""
        return _WORDS[self]


_WORDS: Mapping[Sort, str] = {
    Sort.URGENCY: "trouble first",
    Sort.NAME: "name",
    Sort.EXPIRY: "expiry",
    Sort.REFRESH: "next refresh",
}

_ORDERS: Mapping[Sort, Callable[[AppReport], Any]] = {
    Sort.URGENCY: lambda one: (reports.urgency(one), one.status.name),
    Sort.NAME: lambda one: one.status.name,
    Sort.EXPIRY: lambda one: (_expiry(one), one.status.name),
    Sort.REFRESH: lambda one: (one.status.session.next_attempt_at, one.status.name),
}


@dataclass(frozen=True, slots=True)
class View:
    """A choice of apps, and their order."""

    q: str = ""
    """Text to find in an app's name, endpoint, outputs or last error."""
    state: str = ""
    """A state, TROUBLED, or "" for all."""
    sort: Sort = Sort.URGENCY
    page: int = 1

    @classmethod
    def parse(cls, query: str) -> "View":
        """Return the view that a query asks for, ignoring what is unknown or malformed."""
        fields = dict(parse_qsl(query, errors="replace"))
        state, sort, page = fields.get("state", ""), fields.get("sort", ""), fields.get("page", "")
        return cls(
            q=fields.get("q", "").strip()[:MAX_SEARCHED],
            state=state if state in {*State, TROUBLED} else "",
            sort=Sort(sort) if sort in set(Sort) else Sort.URGENCY,
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,  # noqa: PLR2004
        )

    def link(self, **changes: str | int) -> str:
        """Return the address of this view with changes."""
        view, default = replace(self, **changes), View()  # type: ignore[arg-type]  # as annotated
        names = ("q", "state", "sort", "page")
        fields = {name: getattr(view, name) for name in names}
        query = {
            name: str(value) for name, value in fields.items() if value != getattr(default, name)
        }
        return f"/?{urlencode(query)}" if query else "/"

    def choose(self, apps: Iterable[AppReport]) -> list[AppReport]:
        """Return the apps of all pages of the view, in its order."""
        chosen = [one for one in apps if self._has_state(one) and self._matches(one)]
        chosen.sort(key=_ORDERS[self.sort])
        return chosen

    def _has_state(self, one: AppReport) -> bool:
        if self.state == TROUBLED:
            return reports.troubled(one)
        return self.state in ("", one.status.session.state)

    def _matches(self, one: AppReport) -> bool:
        if not self.q:
            return True
        failure = one.status.session.last_failure
        error = "" if failure is None else f"{failure.reason}: {failure.message}"
        texts = [one.status.name, one.app.endpoint.url, error]
        texts += [text for output in one.status.outputs for text in (output.name, output.error)]
        wanted = self.q.casefold()
        return any(wanted in text.casefold() for text in texts)


def _expiry(one: AppReport) -> float:
    token = one.status.session.token
    # Those without a token come first: their consumers have none.
    return -inf if token is None else token.expires_at
