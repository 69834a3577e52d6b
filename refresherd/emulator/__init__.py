"""A Fortanix DSM to develop and test against: logins, sessions, and faults on demand.

Anyone who reaches its listener can read API keys and every token, so bind it to loopback. It
shares no code with refresherd's client. `docs/emulator.md` describes its HTTP side. In Python::

    async with Emulator(Options(apps=2, lifetime=5, tls=True, certificate_apps=1)) as dsm:
        dsm.url, dsm.ca_file                      # "https://127.0.0.1:40123"; a Path, or None
        app = dsm.apps[0]                         # app.id, .name, .api_key, .lifetime, .counts
        dsm.apps.add("billing", api_key="...")    # or certificate=True, lifetime=2.5
        ldap = dsm.apps.add(ldap=True)            # dsm.apps.account_id, ldap.name, ldap.secret
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
"""

from refresherd.emulator.apps import App, Apps
from refresherd.emulator.emulator import Emulator, Options
from refresherd.emulator.faults import Fault, Faults
from refresherd.emulator.sessions import Expiry, Sessions

__all__ = ["App", "Apps", "Emulator", "Expiry", "Fault", "Faults", "Options", "Sessions"]
