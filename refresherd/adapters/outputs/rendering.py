"""A token as the bytes that consumers read."""

from refresherd.domain.formats import Answer, render
from refresherd.domain.model import App, Format, Token
from refresherd.engine.ports import Clock


def rendered(app: App, token: Token, form: Format, clock: Clock) -> bytes:
    """Return the token in a format, with `expires_in` counted from now."""
    answer = Answer(
        app=app.name,
        access_token=token.access_token.reveal(),
        expires_in=token.expires_at - clock.now(),
        expires_at=clock.wall(token.expires_at),
        issued_at=clock.wall(token.issued_at),
        generation=token.generation,
        entity_id=token.entity_id,
        endpoint=app.endpoint.url,
    )
    return render(answer, form)
