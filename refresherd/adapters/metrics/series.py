"""Which counters of an app can ever move from 0, given its settings.

The others are left out: at ten thousand apps, each costs Prometheus ten thousand series. Those that
can move exist from the start, because a rate misses the event with which a series appears.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product

from refresherd.domain.errors import Reason
from refresherd.domain.labels import Ending, HookResult
from refresherd.domain.model import App, Method, TokenFile

SERIES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "refresh_attempts": tuple(product(Method)),
    "refresh_failures": tuple(product(Method, Reason)),
    "hook_runs": tuple(product(HookResult)),
    "sessions_terminated": tuple(product(Ending)),
}
"""The counters of apps: by metric, the label values of all series that it could have."""

_ANY_REQUEST = frozenset(
    {
        Reason.CONNECT,
        Reason.TLS,
        Reason.TIMEOUT,
        Reason.THROTTLED,
        Reason.SERVER_ERROR,
        Reason.BAD_RESPONSE,
    }
)
"""Failures that the network, proxies or an overloaded DSM may cause to any request."""

_REASONS: Mapping[Method, frozenset[Reason]] = {
    # Only a login needs the credential; Metrics counts every unreadable one as a failed login.
    Method.AUTH: _ANY_REQUEST | {Reason.MFA_REQUIRED, Reason.REJECTED, Reason.CREDENTIAL},
    # DSM refuses a session, not a credential. Its answer grants a token, as that to a login does,
    # and may make it wait for a second factor.
    Method.REAUTH: _ANY_REQUEST | {Reason.MFA_REQUIRED, Reason.SESSION_LOST},
    # The answer grants nothing, so it asks for no second factor.
    Method.KEEPALIVE: _ANY_REQUEST | {Reason.SESSION_LOST},
}
"""Why a request of each method may fail."""

Movable = Mapping[str, tuple[bool, ...]]
"""By metric, whether each of its SERIES can move."""


def methods(app: App) -> tuple[Method, ...]:
    """Return the methods of the requests that may be sent for an app's session."""
    timing = app.timing
    used = {
        # The first session, and the next one after a loss.
        Method.AUTH: True,
        # An app that has no key continues from its stored session, whatever `renew` is.
        Method.REAUTH: timing.renew is Method.REAUTH or isinstance(app.credential, TokenFile),
        # A check whether the session still lives is sent, and counted, as a keepalive.
        Method.KEEPALIVE: timing.renew is Method.KEEPALIVE or timing.session_check is not None,
    }
    return tuple(method for method in Method if used[method])


def movable(app: App, *, ends_sessions: bool) -> Movable:
    """Return which series of an app can move.

    `ends_sessions` tells whether the sessions of apps that stop are ended.
    """
    has_key = not isinstance(app.credential, TokenFile)
    return _movable(
        methods(app),
        has_key=has_key,
        # DSM over HTTP is on this host, but a proxy may have been configured all the same.
        has_tls=app.endpoint.url.startswith("https:") or bool(app.endpoint.proxy),
        has_hooks=bool(app.hooks),
        # Every method replaces sessions: a keepalive app logs in when DSM does not keep its session
        # alive. The last session of an app that has no key is never ended.
        ends=app.timing.terminate_after is not None or (ends_sessions and has_key),
    )


@lru_cache
def _movable(
    used: tuple[Method, ...], *, has_key: bool, has_tls: bool, has_hooks: bool, ends: bool
) -> Movable:
    """Return one mapping for all apps of a kind, to save memory: there are few kinds."""
    reasons = {method: set(_REASONS[method]) for method in used}
    if not has_key:
        # When DSM refuses the token in the file, the app continues from its latest session.
        reasons[Method.AUTH].add(Reason.SESSION_LOST)
    if not has_tls:
        for of_method in reasons.values():
            of_method.discard(Reason.TLS)
    return {
        "refresh_attempts": tuple(method in used for method in Method),
        "refresh_failures": tuple(
            reason in reasons.get(method, ()) for method, reason in product(Method, Reason)
        ),
        "hook_runs": (has_hooks,) * len(HookResult),
        "sessions_terminated": (ends,) * len(Ending),
    }
