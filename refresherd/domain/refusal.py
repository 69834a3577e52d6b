"""The message for a refused credential: where it is, who refused it, and what to do."""

from typing import assert_never

from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    LdapApp,
    SystemdCredential,
    TokenFile,
)

AT_ONCE = "replace it, the change is picked up at once"


def refusal(app: App, answer: str) -> str:
    """Return the message for a login that DSM refused with `answer`; it holds no secret."""
    credential, cure = _credential(app)
    message = f"{credential} was refused by {app.endpoint.url} ({answer}); {cure}"
    if app.bind_to:
        message += f"; or correct bind_to, {app.bind_to}"
    return f"{message}; or enable the app in DSM and run `refresherd refresh {app.name}`"


def _credential(app: App) -> tuple[str, str]:  # noqa: PLR0911 -- one for each kind
    """Return an app's credential with its place, and how to replace it."""
    refresh = f"run `refresherd refresh {app.name}`"
    match app.credential:
        case ApiKeyFile(path):
            return f"the key in {path}", AT_ONCE
        case SystemdCredential(name):
            cure = "replace what LoadCredential= reads, and restart the unit"
            return f'the key in the systemd credential "{name}"', cure
        case ApiKeyEnv(variable):
            return f"the key in ${variable}", "replace it there, and restart the daemon"
        case ApiKeyCommand(argv):
            return f"the key that {argv[0]} prints", f"replace it there, and {refresh}"
        case TokenFile(path):
            return f"the token in {path}", AT_ONCE
        case Certificate(app_id, cert_file):
            return f"the certificate in {cert_file}, for the app {app_id},", AT_ONCE
        case LdapApp(_, app_name, password_file):
            return f'the password in {password_file}, for the app "{app_name}",', AT_ONCE
        case _:
            assert_never(app.credential)
