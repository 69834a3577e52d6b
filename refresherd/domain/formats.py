"""The formats in which consumers read a token: raw, header, json, env and sdkms-cli."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from math import floor
from typing import assert_never

from refresherd.domain.model import App, Format, Instant, Token

LATEST_WALL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def render_token(
    app: App, token: Token, form: Format, now: Instant | None, wall: Callable[[Instant], float]
) -> bytes:
    """Return an app's token in a format. `wall` turns boot time into unix seconds.

    In JSON, `expires_in` counts from `now`. It is left out if that is None: in a file it would be
    wrong a second later. The result is in clear: never keep or log it.
    """
    secret, endpoint = token.access_token, app.endpoint.url
    match form:
        case Format.RAW:
            # The vendor's Python client raises ValueError for a token with a trailing newline.
            return secret.reveal().encode()
        case Format.HEADER:
            return f"Authorization: Bearer {secret.reveal()}\n".encode()
        case Format.JSON:
            left = {} if now is None else {"expires_in": max(0, floor(token.expires_at - now))}
            fields = {
                "app": app.name,
                "token_type": "Bearer",
                "access_token": secret.reveal(),
                **left,
                "expires_at": timestamp(wall(token.expires_at)),
                "issued_at": timestamp(wall(token.issued_at)),
                "generation": token.generation,
                "entity_id": token.entity_id,
                "endpoint": endpoint,
            }
            return f"{json.dumps(fields)}\n".encode()
        case Format.ENV:
            expires_at = timestamp(wall(token.expires_at))
            return (
                f"FORTANIX_API_ENDPOINT={endpoint}\n"
                f"FORTANIX_ACCESS_TOKEN={secret.reveal()}\n"
                f"FORTANIX_TOKEN_EXPIRES_AT={expires_at}\n"
            ).encode()
        case Format.SDKMS_CLI:
            return f"app-token={secret.reveal()}\nend-point={endpoint}\n".encode()
        case _:
            assert_never(form)


def timestamp(unix: float) -> str:
    """Return unix seconds as RFC 3339 in UTC, in whole seconds.

    Rounded down, so that no consumer trusts an expired token.
    """
    moment = datetime.fromtimestamp(floor(min(unix, LATEST_WALL)), tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
