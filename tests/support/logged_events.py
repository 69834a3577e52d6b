"""Every kind of event as it may happen on a host, with its level and its name in the log."""

import logging
from dataclasses import replace

from refresherd.domain import events
from refresherd.domain.certificates import Validity
from refresherd.domain.connection_quota import Refusal
from refresherd.domain.errors import Reason
from refresherd.domain.events import Event
from refresherd.domain.labels import ApiRoute, Ending, HookResult, Jump
from refresherd.domain.model import Instant, Method

APP = "payments"
URL = "https://amer.smartkey.io"
PATH = "/run/refresherd/payments.token"
HOOK = "hooks[0] systemctl"
API = "/run/refresherd/api.sock"
CERTIFICATE = "/etc/refresherd/payments.crt"
REQUEST = "8c0e0f4a-6a0e-4a8e-9d52-2d1f3e0a7c11"

RENEWED = events.Renewed(
    APP, URL, Method.REAUTH, 0.0214, 1207, Instant(1600), Instant(1300), REQUEST
)
FAILED = events.AttemptFailed(
    APP,
    URL,
    Method.AUTH,
    Reason.CONNECT,
    "cannot connect to amer.smartkey.io:443: connection refused",
    0.5,
    12,
    Instant(1030),
    REQUEST,
)
REFUSED = replace(
    FAILED,
    reason=Reason.REJECTED,
    message="the key in /etc/refresherd/payments.key was refused by https://amer.smartkey.io (401 "
    "Unauthorized: Authentication failed); replace it, the change is picked up at once",
)
HOOK_FAILED = events.HookRan(APP, HOOK, HookResult.FAILED, 0.1, "it exited with status 1")
OUTPUT_FAILED = events.OutputFailed(
    APP, PATH, f"{PATH}: cannot write it: No space left on device; free some space", 0.5
)
STARTED = events.Started("0.1.0", 12, "/etc/refresherd/config.toml", API, "127.0.0.1:9749")
RELOAD_FAILED = events.ReloadFailed(
    '/etc/refresherd/config.toml:12: apps.payments.renew: "reaut" is not a way to renew; write one '
    'of "reauth", "auth", "keepalive"'
)
EXPIRES = events.CertificateExpires(
    APP,
    CERTIFICATE,
    "the client certificate expires at 2026-12-12T10:00:00Z; renew it, the new file is picked up "
    "at once",
    Validity.EXPIRES_SOON,
)

LOGGED: list[tuple[Event, int, str]] = [
    (events.AttemptBegan(APP, Method.AUTH, 0.0), logging.DEBUG, "attempt began"),
    (RENEWED, logging.INFO, "token refreshed"),
    (replace(RENEWED, method=Method.KEEPALIVE), logging.INFO, "session kept alive"),
    (FAILED, logging.WARNING, "refresh failed"),
    (replace(FAILED, reason=Reason.SESSION_LOST), logging.WARNING, "refresh failed"),
    (REFUSED, logging.ERROR, "refresh failed"),
    (replace(FAILED, reason=Reason.MFA_REQUIRED), logging.ERROR, "refresh failed"),
    (
        events.LoginPostponed(
            APP,
            "50 logins with this credential have failed within 24 hours; the next is allowed at "
            "2026-11-30T10:00:00Z; correct or replace it",
            Instant(1030),
        ),
        logging.ERROR,
        "login withheld",
    ),
    (events.SessionChecked(APP, URL, 0.02), logging.DEBUG, "session checked"),
    (
        events.SessionResumed(APP, 1207, Instant(1600), Instant(1300)),
        logging.INFO,
        "session resumed",
    ),
    (events.TokenExpired(APP, 1207), logging.ERROR, "token expired"),
    (events.CredentialChanged(APP), logging.INFO, "credential changed"),
    (
        events.EntityMismatch(
            APP, "f47ac10b-58cc-4372-a567-0e02b2c3d479", "9b2e4c11-1d2f-4c7e-8d2a-5f3f0e6b1c22"
        ),
        logging.WARNING,
        "entity mismatch",
    ),
    (
        events.CertificateRead(APP, CERTIFICATE, 1_800_000_000.0),
        logging.DEBUG,
        "client certificate read",
    ),
    (EXPIRES, logging.WARNING, "client certificate expires"),
    (replace(EXPIRES, validity=Validity.EXPIRED), logging.ERROR, "client certificate expires"),
    (events.SessionEnded(APP, Ending.TERMINATED), logging.DEBUG, "session ended"),
    (events.SessionEnded(APP, Ending.GONE), logging.DEBUG, "session ended"),
    (
        events.SessionEnded(APP, Ending.FAILED, "503 Service Unavailable"),
        logging.WARNING,
        "session not ended",
    ),
    (events.OutputWritten(APP, PATH, 1207), logging.DEBUG, "output written"),
    (events.OutputUnchanged(APP, PATH, 1207), logging.DEBUG, "output unchanged"),
    (
        events.OutputAltered(APP, PATH, "somebody removed it", 0.0),
        logging.WARNING,
        "output altered",
    ),
    (events.OutputRemoved(APP, PATH), logging.INFO, "output removed"),
    (OUTPUT_FAILED, logging.WARNING, "output failed"),
    (events.HookRan(APP, HOOK, HookResult.OK, 0.1, "2 workers told"), logging.INFO, "hook ran"),
    (events.HookRan(APP, HOOK, HookResult.OK, 0.1), logging.DEBUG, "hook ran"),
    (HOOK_FAILED, logging.WARNING, "hook failed"),
    (replace(HOOK_FAILED, result=HookResult.TIMEOUT), logging.WARNING, "hook failed"),
    (events.ApiAnswered(ApiRoute.TOKEN, 200, 0.0002), logging.DEBUG, "request answered"),
    (
        events.AccessDenied(APP, API, 1002, 1002, 48231, "billing-eu.service"),
        logging.WARNING,
        "access denied",
    ),
    (
        events.AccessDenied(APP, API, 1002, 1002, 48231, "", "the daemon cannot see your process"),
        logging.WARNING,
        "access denied",
    ),
    (
        events.AccessUndecided(
            APP, API, 1002, 1002, 48231, "looking up the users in `access` takes too long"
        ),
        logging.WARNING,
        "access undecided",
    ),
    (
        events.ConnectionRejected(API, Refusal.USER_CONNECTIONS, "1002", 1024),
        logging.WARNING,
        "connection refused",
    ),
    (
        events.AcceptFailed(API, "Too many open files"),
        logging.ERROR,
        "cannot accept connections",
    ),
    (events.AppCrashed(APP, ValueError("x"), 1.0), logging.ERROR, "app crashed"),
    (events.ClockJumped(Jump.SUSPEND, 28800.0), logging.INFO, "clock jumped"),
    (events.LoopLagged(0.2), logging.DEBUG, "event loop lagged"),
    (events.LoopLagged(2.0), logging.WARNING, "event loop lagged"),
    (STARTED, logging.INFO, "started"),
    (
        events.Warned(
            "/etc/refresherd/payments.key: others may read it (mode 0644); chmod 0600 it", APP
        ),
        logging.WARNING,
        "warning",
    ),
    (events.Reloaded(Instant(1000), 1, 0, 2, 10), logging.INFO, "reloaded"),
    (RELOAD_FAILED, logging.ERROR, "reload failed"),
    (events.WebConfigRead("/etc/refresherd/web.yml"), logging.INFO, "web configuration read"),
    (
        events.WebConfigRefused(("/etc/refresherd/web.yml:7: x: unknown key; remove it",)),
        logging.ERROR,
        "web configuration refused",
    ),
    (
        events.HandshakeFailed("[::1]:9749", "1002", "peer did not return a certificate"),
        logging.WARNING,
        "handshake failed",
    ),
    (events.Stopping("SIGTERM"), logging.INFO, "stopping"),
    (events.Stopped(), logging.INFO, "stopped"),
]
"""Each kind of event, in each of its levels, with every field that it may have."""

ENDING_TROUBLE: list[Event] = [
    RENEWED,
    replace(RENEWED, method=Method.KEEPALIVE),
    events.OutputWritten(APP, PATH, 1207),
    events.OutputUnchanged(APP, PATH, 1207),
    events.OutputRemoved(APP, PATH),
    events.HookRan(APP, HOOK, HookResult.OK, 0.1),
]
"""Events that tell how many failures they bring to an end."""
