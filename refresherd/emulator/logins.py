"""Decides on logins, and protects an app's secret from guessing as DSM in FIPS mode does."""

import hmac
from typing import Final

from refresherd.emulator.apps import App, Apps, split_api_key

FIPS_FAILURES: Final = 100
"""Failed logins by API key within 24 hours after which DSM resets the app's secret."""


class Logins:
    """Checks credentials; with `fips` the hundredth failure in 24 hours resets the secret.

    A successful login does not set the count back: DSM's documents name no such mercy.
    """

    def __init__(self, apps: Apps, *, fips: bool) -> None:
        self._apps = apps
        self._fips = fips

    def named_by(self, credential: str) -> App | None:
        """Return the app that a Basic credential names, whether or not its secret is right."""
        app_id, _ = split_api_key(credential)
        return self._apps.get(app_id)

    def log_in(self, credential: str, certificate_name: str | None, now: float) -> App | None:
        """Return the app that a Basic credential logs in, counting it; None if it doesn't.

        `certificate_name` is the common name of the TLS client certificate, `now` in seconds.
        """
        app = self.named_by(credential)
        if app is None:
            return None
        _, secret = split_api_key(credential)
        if app.secret is None:
            accepted = not secret and certificate_name == app.id
        else:
            accepted = hmac.compare_digest(secret.encode(), app.secret.encode())
        if accepted:
            app.counts.logins += 1
            return app
        self._count_failure(app, now)
        return None

    def _count_failure(self, app: App, now: float) -> None:
        app.counts.failed_logins += 1
        if app.secret is None:
            return
        app.failures.append(now)
        if app.recent_failures(now) >= FIPS_FAILURES and self._fips:
            self._apps.reset_secret(app)
