"""A Fortanix DSM to develop and test against: logins, sessions, and faults on demand.

It is a tool for tests: API keys and every token issued can be read in full by anyone who reaches
the listener, so bind it to loopback. It shares no code with refresherd's client.

In Python::

    async with Emulator(Options(apps=2, lifetime=5, tls=True, certificate_apps=1)) as dsm:
        dsm.url, dsm.ca_file                      # "https://127.0.0.1:40123"; a Path, or None
        app = dsm.apps[0]                         # app.id, .name, .api_key, .lifetime, .counts
        dsm.apps.add("billing", api_key="...")    # or certificate=True, lifetime=2.5
        dsm.client_certificate(dsm.apps[2])       # .cert_file, .key_file

        dsm.faults.add(Fault(operation="reauth", status=503, headers={"Retry-After": "3"}, times=2))
        dsm.faults.add(Fault(app=app.name, hang=True))
        dsm.faults.add(Fault(operation="auth", fields={"expires_in": 0}, missing=["access_token"]))
        dsm.faults.clear()

        dsm.sessions.live(app)                    # [Session], each with .token and .deadline
        dsm.sessions.tokens(app)                  # every token ever issued to it, in order
        dsm.sessions.end_all(); dsm.sessions.end_all(app); dsm.sessions.end(token)
        dsm.apps.reset_secret(app)                # a new app.api_key; all its sessions end
        app.recent_failures(now)                  # failed logins by API key in 24 h; 100 reset it
        dsm.log.select(operation="auth", app=app.id, since=now)   # [Request], oldest first
        await dsm.stop(); await dsm.start()       # an outage: connections refused, the rest stays

A request gets the oldest fault that meets it, and no other. `Fault` lists what can go wrong.

Over HTTP, on the same listener; bodies and answers are JSON, `app` is a UUID or a name::

    curl $DSM/control/apps                        # ids, names, API keys, the CA's file
    curl $DSM/control/apps -d '{"name": "billing", "lifetime": 2.5}'   # or api_key, certificate
    curl $DSM/control/apps/reset-secret -d '{"app": "app-1"}'
    curl $DSM/control/sessions/end -d '{}'        # or {"app": ...}, {"token": ...}
    curl $DSM/control/faults                      # those in force
    curl $DSM/control/faults -d '{"operation": "reauth", "status": 429, "times": 1}'
    curl -X DELETE $DSM/control/faults            # or ?id=1
    curl $DSM/control/statistics                  # per app: counts, live_sessions, tokens in full
    curl "$DSM/control/requests?operation=auth&app=app-1&since=12.5"   # DELETE forgets them

More faults, as JSON; in Python they are the same fields of `Fault`::

    {"delay": 2}                                  slow, but right
    {"hang": true}                                no answer
    {"reset": "before"}, {"reset": "during"}      TCP reset: not carried out, half the answer sent
    {"truncate": 20}, {"drip": 1}                 body cut short; one byte of it a second
    {"status": 200, "body": "<html>", "content_type": "text/html"}, {"status": 200}
    {"redirect": "http://127.0.0.1:1/"}
    {"expires_in_skew": -300}, {"fields": {"expires_in": 4294967295}}
    {"fields": {"token_type": "Cookie"}}, {"missing": ["access_token"]}
    {"fields": {"challenge": {"u2f_challenge": "...", "u2f_keys": []}}}
    {"padding": 2000000}                          an answer of over 1 MiB
"""

from refresherd.emulator.apps import App, Apps, Counts
from refresherd.emulator.emulator import Emulator, Options
from refresherd.emulator.faults import Fault, Faults
from refresherd.emulator.requests import Request, RequestLog
from refresherd.emulator.sessions import Expiry, Session, Sessions

__all__ = [
    "App",
    "Apps",
    "Counts",
    "Emulator",
    "Expiry",
    "Fault",
    "Faults",
    "Options",
    "Request",
    "RequestLog",
    "Session",
    "Sessions",
]
