"""The daemon's environment: what credentials need in it, and what it says about proxies."""

from collections.abc import Iterator

from refresherd.config.findings import Finding, Kind, quoted
from refresherd.config.names import CredentialName, Variable
from refresherd.config.parse import Settings
from refresherd.domain import no_proxy
from refresherd.domain.credential_formats import api_key_fault

PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")


def check_environment(settings: Settings) -> Iterator[Finding]:
    """Yield what the environment lacks, and entries of NO_PROXY that exempt nothing."""
    for app in settings.apps:
        if app.own.token_file and settings.state_dir is None and settings.valid(("state_dir",)):
            yield Finding(
                (*app.path, "token_file"),
                "the newest session has to be saved for the next start; set state_dir, or "
                "StateDirectory= in the systemd unit",
            )
    if settings.credentials_directory is None:
        for key, _ in settings.written(CredentialName):
            yield Finding(
                key,
                "it cannot be checked here, because systemd passes it to the unit only "
                "(LoadCredential=); for a daemon without a unit, write api_key_file",
                Kind.NOTE,
            )
    for key, variable in settings.written(Variable):
        value = settings.environ.get(variable)
        if value is None:
            yield Finding(
                key,
                f"the environment variable {quoted(variable)} is not set; set it (systemd: "
                "EnvironmentFile=), or name another one",
                Kind.TROUBLE,
            )
        elif fault := api_key_fault(value.encode(errors="surrogateescape")):
            yield Finding(key, f"the value of {quoted(variable)}: {fault}", Kind.TROUBLE)
    yield from _check_no_proxy(settings)


def _check_no_proxy(settings: Settings) -> Iterator[Finding]:
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
