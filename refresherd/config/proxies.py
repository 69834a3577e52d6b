"""What the environment says about proxies."""

from collections.abc import Iterator

from refresherd.config.findings import Finding, Kind, quoted
from refresherd.config.parse import Settings
from refresherd.domain import no_proxy

PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")


def check_no_proxy(settings: Settings) -> Iterator[Finding]:
    """Yield warnings of entries in NO_PROXY that exempt nothing, if proxies come from there."""
    environ = settings.environ
    app = next((app for app in settings.apps if not app.dsm.proxy), None)
    if app is None or not any(environ.get(name) for name in PROXIES):
        return
    name, value = no_proxy.variable(environ)
    for entry in no_proxy.not_understood(value):
        yield Finding(
            app.where("proxy"),
            f"{name} in the environment has {quoted(entry)}, which exempts nothing; write names, "
            "domains (example.com), addresses or networks (10.0.0.0/8, fd00::/8), separated by "
            'commas, or "*" for all hosts',
            Kind.WARNING,
        )
