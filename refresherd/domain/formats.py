"""The formats in which consumers read a token: raw, header, json, env and sdkms-cli."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from types import MappingProxyType

from refresherd.domain.model import App, Format, Instant, Token

LATEST_WALL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Answer:
    """A token as it is handed out at an instant. It is in clear: never keep or log it.

    `expires_in` is what is left in seconds; `expires_at` and `issued_at` are unix seconds.
    """

    app: str
    access_token: str
    expires_in: float
    expires_at: float
    issued_at: float
    generation: int
    entity_id: str
    endpoint: str

    def __repr__(self) -> str:
        return f"Answer(app={self.app!r}, generation={self.generation})"


def render_token(
    app: App, token: Token, form: Format, now: Instant, wall: Callable[[Instant], float]
) -> bytes:
    """Return an app's token in a format, as of `now`. `wall` turns boot time into unix seconds."""
    answer = Answer(
        app=app.name,
        access_token=token.access_token.reveal(),
        expires_in=token.expires_at - now,
        expires_at=wall(token.expires_at),
        issued_at=wall(token.issued_at),
        generation=token.generation,
        entity_id=token.entity_id,
        endpoint=app.endpoint.url,
    )
    return render(answer, form)


def render(answer: Answer, form: Format) -> bytes:
    """Return the token in a format."""
    return RENDERERS[form](answer).encode()


def timestamp(unix: float) -> str:
    """Return unix seconds as RFC 3339 in UTC, in whole seconds.

    Rounded down, so that no consumer trusts an expired token.
    """
    moment = datetime.fromtimestamp(floor(min(unix, LATEST_WALL)), tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _raw(answer: Answer) -> str:
    # The vendor's Python client raises ValueError for a token with a trailing newline.
    return answer.access_token


def _header(answer: Answer) -> str:
    return f"Authorization: Bearer {answer.access_token}\n"


def _json(answer: Answer) -> str:
    fields = {
        "app": answer.app,
        "token_type": "Bearer",
        "access_token": answer.access_token,
        "expires_in": max(0, floor(answer.expires_in)),
        "expires_at": timestamp(answer.expires_at),
        "issued_at": timestamp(answer.issued_at),
        "generation": answer.generation,
        "entity_id": answer.entity_id,
        "endpoint": answer.endpoint,
    }
    return json.dumps(fields) + "\n"


def _env(answer: Answer) -> str:
    return (
        f"FORTANIX_API_ENDPOINT={answer.endpoint}\n"
        f"FORTANIX_ACCESS_TOKEN={answer.access_token}\n"
        f"FORTANIX_TOKEN_EXPIRES_AT={timestamp(answer.expires_at)}\n"
    )


def _sdkms_cli(answer: Answer) -> str:
    return f"app-token={answer.access_token}\nend-point={answer.endpoint}\n"


RENDERERS: Mapping[Format, Callable[[Answer], str]] = MappingProxyType(
    {
        Format.RAW: _raw,
        Format.HEADER: _header,
        Format.JSON: _json,
        Format.ENV: _env,
        Format.SDKMS_CLI: _sdkms_cli,
    }
)
