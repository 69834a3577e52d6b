"""A summary of a configuration, for the operator who checks it."""

from collections.abc import Iterator
from typing import assert_never

from refresherd.config.configuration import Configuration
from refresherd.domain import model
from refresherd.domain.durations import in_seconds
from refresherd.domain.timing import outage_budget

USUAL_LIFETIME = 600.0
"""The lifetime of an app's session in seconds, unless an administrator of DSM has changed it."""


def describe(configuration: Configuration) -> Iterator[str]:
    """Yield lines about each app and about the daemon; no secrets."""
    for app in configuration.apps:
        credential = _credential(app.credential)
        yield f"{app.name}: {credential}, {app.endpoint.url}, renewed by {app.timing.renew}"
        yield from (f"  {line}" for line in _details(app))
    api, http = configuration.api, configuration.http
    yield "no API socket" if api.path is None else f"API socket {api.path}: mode {api.mode:04o}"
    for host, port in http.listen:
        yield f"HTTP listener {f'[{host}]' if ':' in host else host}:{port}: metrics and health"
    if not http.listen:
        yield "no HTTP listener"
    state = configuration.state_dir
    yield "no state directory" if state is None else f"state directory {state}"


def _details(app: model.App) -> Iterator[str]:
    if app.bind_to:
        yield f"sessions bound to app {app.bind_to}"
    for file in app.files:
        yield f"file {file.path}: {file.format}, {_ownership(file.ownership)}"
    for socket in app.sockets:
        yield f"socket {socket.path}: {socket.format}, {_ownership(socket.ownership)}"
    if not app.files and not app.sockets:
        yield "no outputs"
    named = ("users", app.access.users), ("groups", app.access.groups), ("units", app.access.units)
    access = "; ".join(f"{kind} {', '.join(names)}" for kind, names in named if names)
    nobody_else = "only root and the daemon's user"
    yield f"access: {access or nobody_else}"
    for hook in app.hooks:
        # The program alone, since an argument may be a secret.
        sends = f"{hook.signal} to the process in {hook.pid_file}"
        yield f"hook: {hook.command[0] if hook.command else sends}"
    lifetime = in_seconds(USUAL_LIFETIME)
    budget = in_seconds(outage_budget(USUAL_LIFETIME, app.timing))
    share = 1 - app.timing.at
    yield f"outage budget: {share:.0%} of a token's lifetime, {budget} of the usual {lifetime}"


def _ownership(ownership: model.Ownership) -> str:
    named = ("owner", ownership.owner), ("group", ownership.group)
    whom = "".join(f", {kind} {name}" for kind, name in named if name)
    return f"mode {ownership.mode:04o}{whom}"


def _credential(credential: model.Credential) -> str:  # noqa: PLR0911 -- one for each kind
    match credential:
        case model.ApiKeyFile():
            return "an API key in a file"
        case model.SystemdCredential():
            return "an API key from systemd"
        case model.ApiKeyEnv():
            return "an API key in the environment"
        case model.ApiKeyCommand():
            return "an API key from a command"
        case model.TokenFile():
            return "a bearer token in a file"
        case model.Certificate():
            return "a certificate"
        case model.LdapApp():
            return "an LDAP app's password in a file"
        case _:
            assert_never(credential)
