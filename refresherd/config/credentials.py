"""Checks that each app has exactly one complete credential, and that its files contain one.

A function that ends in `_fault` returns what is wrong with a content, "" if nothing is, and never
repeats any of it.
"""

import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from refresherd.config.findings import Finding, Kind, listed, quoted
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.scalars import Argument, CredentialName, Variable
from refresherd.domain.api_keys import app_uuid
from refresherd.domain.model import B64TOKEN, UUID
from refresherd.domain.passwords import password

SINGLE = ("api_key_file", "api_key_credential", "api_key_env", "api_key_command", "token_file")
"""Keys that are a credential by themselves."""

CERTIFICATE = ("app_id", "cert_file", "key_file")
LDAP = ("acct_id", "app_name", "password_file")

TOGETHER = {"a certificate app": CERTIFICATE, "an LDAP app": LDAP}
"""Keys that are a credential together, by what needs them."""

APP_ID = UUID.pattern.encode()
SHAPE = "base64 of <app uuid>:<secret>, as DSM shows it under the app's credentials"

WORD = re.compile(rb"[A-Za-z0-9+/=_-]{52,}")
"""What may be an API key: base64 of a UUID, a colon and a secret."""

TOKEN = rb"[A-Za-z0-9_.~+/-]{64,}=*$"
"""DSM's tokens are 86 characters of base64url."""

NEITHER = (
    (rb"\Z", "it is empty"),
    (rb"\xef\xbb\xbf", "it begins with a byte order mark; save it as UTF-8 without one"),
    (rb"\xff\xfe|\xfe\xff", "it is UTF-16 text; save it as UTF-8"),
    (rb"(?s).*\0", "it holds NUL bytes; save it as plain text in UTF-8"),
    (rb"-----BEGIN ", "it is a PEM file; keep only the value itself"),
    (rb"[{\[]", "it looks like JSON; keep only the value itself"),
    (rb"(?i)authorization:", "it begins with `Authorization:`; keep only the value itself"),
    (rb"(?i)basic\s", "it begins with `Basic `; keep only the value itself"),
    (rb"export\s", "it begins with `export`; keep only the value itself"),
    (rb"FORTANIX_API_KEY\s*=", "it begins with `FORTANIX_API_KEY=`; keep only the value itself"),
    (rb"SDKMS_API_KEY\s*=", "it begins with `SDKMS_API_KEY=`; keep only the value itself"),
    (
        rb"[A-Za-z_]\w*[ \t]*=[ \t]*[^=\s]",
        "it begins with a variable name and `=`; keep only the value itself",
    ),
    (rb"[A-Za-z_][\w-]*:\s", "it begins with a name and `:`; keep only the value itself"),
    (rb"[\"'`]", "it begins with a quotation mark; keep only the value itself"),
    (rb"\S*[\"'`]\Z", "it ends with a quotation mark; keep only the value itself"),
    (rb"#", "it begins with a comment; keep only the value itself"),
    (rb"\S*\s", "it holds more than one word or line; keep only the value itself"),
    (rb"\S*[^\x21-\x7e]", "it holds a character that is not ASCII; copy the value again"),
)
"""What contents are neither an API key nor a token, and what is wrong with them."""

NOT_API_KEYS = (
    (rb"(?i)bearer\s", "it holds a bearer token, not an API key; a token belongs in a token_file"),
    *NEITHER,
    (APP_ID + rb"$", f"it holds only an app's UUID; an API key is {SHAPE}"),
    (APP_ID + rb":\S+$", f"it holds <app uuid>:<secret> without base64; an API key is {SHAPE}"),
    (TOKEN, f"it looks like a bearer token or an incomplete API key; an API key is {SHAPE}"),
    (rb"", f"it does not look like an API key; an API key is {SHAPE}"),
)

NOT_TOKENS = (
    (rb"(?i)bearer\s", "it begins with `Bearer `; keep only the token"),
    *NEITHER,
    (rb"(?!" + B64TOKEN.pattern.encode() + rb"\Z)", "it holds a character that no token has"),
)

MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
"""OpenSSL's reasons for a private key and a certificate that do not belong together."""


def check_credentials(settings: Settings) -> Iterator[Finding]:
    """Yield apps without exactly one credential, and credentials that lack another key."""
    for app in settings.apps:
        yield from _check_count(settings, app)
        if app.own.token_file and app.own.bind_to:
            yield Finding(
                (*app.path, "bind_to"),
                "an app with a token_file never logs in, and only a login can bind a session; "
                "remove bind_to, and put a token in the file whose session is bound already",
            )
    yield from _check_arguments(settings)


def check_environment(settings: Settings) -> Iterator[Finding]:
    """Yield what credentials lack in the daemon's environment."""
    for app in settings.apps:
        if app.own.token_file and settings.state_dir is None and settings.valid(("state_dir",)):
            yield Finding(
                (*app.path, "token_file"),
                "the newest session has to be saved for the next start; set state_dir, or "
                "StateDirectory= in the systemd unit",
            )
    for key, _ in settings.written(CredentialName):
        if settings.credentials_directory is None:
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


def api_key_fault(content: bytes) -> str:
    """Return what is wrong with an API key; white space around it is ignored."""
    key = content.strip()
    return "" if _is_api_key(key) else _first_fault(key, NOT_API_KEYS)


def token_fault(content: bytes) -> str:
    """Return what is wrong with a bearer token; white space around it is ignored."""
    token = content.strip()
    if _is_api_key(token):
        return "it holds an API key; use api_key_file for this file"
    return _first_fault(token, NOT_TOKENS)


def password_fault(content: bytes) -> str:
    """Return what is wrong with an LDAP app's password; a newline after it is ignored."""
    try:
        password(content)
    except ValueError as error:
        return str(error)
    return ""


def certificate_fault(content: bytes) -> str:
    """Return what is wrong with the PEM certificate of a certificate app."""
    if b"-----BEGIN CERTIFICATE-----" not in content:
        return "it holds no PEM certificate; name the file with the certificate"
    return ""


def private_key_fault(content: bytes, path: Path, certificate: Path | None) -> str:
    """Return what is wrong with a PEM private key, at `path`, for a certificate if there is one."""
    if b"PRIVATE KEY-----" not in content:
        return "it holds no PEM private key; name the file with the key"
    if certificate is None:
        return ""

    def refuse_passphrase() -> NoReturn:
        # Without a callback, OpenSSL would ask for the passphrase on the terminal.
        raise EOFError

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, path, password=refuse_passphrase)
    except EOFError:
        return (
            "the private key is encrypted, and the daemon has no passphrase; decrypt it "
            "(openssl pkey) and keep the file private (chmod 0600)"
        )
    except (ssl.SSLError, OSError) as error:
        mismatch = getattr(error, "reason", "") in MISMATCHES
        problem = "does not belong to" if mismatch else "cannot be loaded together with"
        return f"it {problem} cert_file; name the private key of that certificate"
    return ""


def authorities_fault(path: Path) -> str:
    """Return what is wrong with a PEM file of certificate authorities."""
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError):
        return (
            "it holds no PEM certificates that can be loaded; name a file of certificate "
            "authorities, each from BEGIN CERTIFICATE to END CERTIFICATE"
        )
    return ""


def _check_count(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    written = [key for key in app.written if key in (*SINGLE, *CERTIFICATE, *LDAP)]
    # An invalid value counts: it was meant to be a credential.
    named = [
        key for key in written if getattr(app.own, key) or not settings.valid((*app.path, key))
    ]
    single = [key for key in named if key in SINGLE]
    together = {kind: [key for key in named if key in keys] for kind, keys in TOGETHER.items()}
    if not named:
        yield Finding(
            (*app.path, *written[:1]),
            f"no credential; write one of {', '.join(SINGLE)}, or {listed(CERTIFICATE, 'and')}, "
            f"or {listed(LDAP, 'and')}",
        )
    credentials = [*single, *(keys[0] for keys in together.values() if keys)]
    if len(credentials) > 1:
        yield Finding(
            (*app.path, credentials[-1]),
            f"{listed(credentials, 'and')} are set together; keep exactly one credential",
        )
    for kind, keys in together.items():
        lacking = [key for key in TOGETHER[kind] if key not in keys]
        if keys and lacking:
            yield Finding(
                (*app.path, keys[0]),
                f"missing: {listed(lacking, 'and')}; {kind} needs {listed(TOGETHER[kind], 'and')}",
            )


def _check_arguments(settings: Settings) -> Iterator[Finding]:
    for key, argument in settings.written(Argument):
        if any(map(_is_api_key, WORD.findall(argument.encode(errors="replace")))):
            yield Finding(
                key,
                "it holds an API key, which every user of this host could read in the list of "
                "processes; put the key in a file (chmod 0600) and write its path as api_key_file",
            )


def _is_api_key(key: bytes) -> bool:
    return app_uuid(key.decode(errors="replace")) != ""


def _first_fault(content: bytes, faults: Iterable[tuple[bytes, str]]) -> str:
    return next((fault for pattern, fault in faults if re.match(pattern, content)), "")
