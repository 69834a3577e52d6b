"""The answers that clients read whose connections are refused, whatever they ask for."""

from refresherd.domain.connection_quota import Refusal
from refresherd.host.http.answers import problem

RETRY = {"Retry-After": "1"}

_TEXTS = {
    Refusal.USER_CONNECTIONS: "you have too many connections to refresherd; close some",
    Refusal.USER_ARRIVALS: "you connect too often; keep a connection open and use it again",
    Refusal.ALL_CONNECTIONS: "refresherd has no place for another connection now; try again",
}

REFUSALS = {
    refusal: problem(503, text, RETRY).to_bytes(None, b"", closing=True)
    for refusal, text in _TEXTS.items()
}
