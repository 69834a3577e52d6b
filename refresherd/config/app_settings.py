"""The tables of an app: every key with its type, its default and its meaning."""

from typing import Annotated

from msgspec import Meta, Struct

from refresherd.config import names, scalars
from refresherd.config.settings import Group
from refresherd.domain.model import Format, OnExpiry

APP_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Names of apps are used in URLs and in metric labels."""


class AccessTable(Struct, frozen=True, kw_only=True):
    """Who may read the app's token from the API socket, besides root and the daemon's user."""

    users: Annotated[
        tuple[names.Principal, ...],
        "Users: names, or uids as strings.",
        Meta(examples=[["payments"]]),
    ] = ()
    groups: Annotated[
        tuple[names.Principal, ...],
        "Groups: names, or gids as strings.",
        Meta(examples=[["payments"]]),
    ] = ()
    units: Annotated[
        tuple[names.Unit, ...],
        "Units of the system's service manager, not of a user's, by their full names. If any are "
        "named, only they get the token from the app's sockets by LoadCredential=.",
        Meta(examples=[["payments.service"]]),
    ] = ()


class OutputTable(Struct, frozen=True, kw_only=True):
    """A place where consumers find the newest token."""

    path: Annotated[scalars.OutputPath, "The path of the output."]
    format: Annotated[
        Format,
        'What consumers read. "raw": the token alone, without a newline. "header": an '
        'Authorization header, for `curl -H @FILE`. "json": an object with the token, its '
        'expiry and more. "env": KEY=value lines. "sdkms-cli": for $SDKMS_CLI_TOKEN_FILE.',
    ] = Format.RAW
    mode: Annotated[scalars.Mode, "Who may read the token, as an octal mode."] = scalars.Mode(
        "0600"
    )
    owner: Annotated[
        names.Principal,
        'The owning user: a name, or a uid as a string. "": the daemon\'s own user.',
        Meta(examples=["payments"]),
    ] = names.Principal()
    group: Group = names.Principal()


class FileTable(OutputTable, frozen=True, kw_only=True):
    """A file that holds the newest token; it is replaced atomically."""

    path: Annotated[
        scalars.OutputPath,
        "The path of the file. Its directory must exist.",
        Meta(examples=["/run/refresherd/payments.token"]),
    ]
    on_expiry: Annotated[
        OnExpiry,
        'Whether to "keep" or to "remove" the file when its token expires. A token that DSM has'
        " declared dead is always removed.",
    ] = OnExpiry.KEEP


class SocketTable(OutputTable, frozen=True, kw_only=True):
    """A Unix socket that writes the newest token to each client and closes the connection.

    For `nc -U` and systemd's LoadCredential=. Without a valid token clients read nothing. Mode,
    owner and group decide who may connect.
    """

    path: Annotated[
        scalars.OutputPath,
        "The path of the socket. Its directory must exist.",
        Meta(examples=["/run/refresherd/payments.sock"]),
    ]


class HookTable(Struct, frozen=True, kw_only=True):
    """A command to run, or a signal to send, after each new token has reached all outputs.

    Hooks run one after the other. One that fails is not repeated until the next token.
    """

    command: Annotated[
        tuple[scalars.Argument, ...],
        "A program (an absolute path, or a name on PATH) and its arguments. It runs without a "
        "shell, in / and with umask 077, and gets no token. Its environment holds PATH, HOME, "
        "USER, LOGNAME, LANG, LC_ALL, TZ and XDG_RUNTIME_DIR from the daemon's environment, "
        "and REFRESHERD_APP and REFRESHERD_GENERATION.",
        Meta(examples=[["systemctl", "reload", "payments.service"]]),
    ] = ()
    signal: Annotated[
        names.Signal, "Instead of a command: a signal to send.", Meta(examples=["HUP"])
    ] = names.Signal()
    pid_file: Annotated[
        scalars.InputFile,
        "The file with the number of the process to signal. If it names no running process yet, "
        "it is read again until the timeout.",
        Meta(examples=["/run/payments.pid"]),
    ] = scalars.InputFile()
    timeout: Annotated[scalars.Duration, "How long the hook may take before it is stopped."] = (
        scalars.Duration("10s")
    )


class AppTable(Struct, frozen=True, kw_only=True):
    """An app of DSM: its credential, and where its token goes.

    Names have up to 64 letters, digits, ".", "_" and "-", and begin with a letter or a digit.
    Each app needs exactly one credential.
    """

    api_key_file: Annotated[
        scalars.InputFile,
        "A file with the API key, not readable by others (chmod 0600).",
        Meta(examples=["payments.key"]),
    ] = scalars.InputFile()
    api_key_credential: Annotated[
        names.CredentialName,
        "The name of a systemd credential (LoadCredential=) with the API key.",
        Meta(examples=["payments"]),
    ] = names.CredentialName()
    api_key_env: Annotated[
        names.Variable,
        "An environment variable of the daemon with the API key.",
        Meta(examples=["FORTANIX_API_KEY"]),
    ] = names.Variable()
    api_key_command: Annotated[
        tuple[scalars.Argument, ...],
        "A command that prints the API key: a program (an absolute path, or a name on PATH) and"
        " its arguments, without a shell. It gets the daemon's environment, except variables that"
        " hold an API key and those of the service manager.",
        Meta(examples=[["pass", "dsm"]]),
    ] = ()
    token_file: Annotated[
        scalars.InputFile,
        "A file with a live bearer token, for a host that holds no API key. Needs `state_dir`, "
        "where the newest session is kept from then on. The file may be deleted after its first"
        " use; a different token in it starts a new session.",
        Meta(examples=["bootstrap.token"]),
    ] = scalars.InputFile()
    app_id: Annotated[
        names.AppId,
        "The UUID of a certificate app.",
        Meta(examples=["f47ac10b-58cc-4372-a567-0e02b2c3d479"]),
    ] = names.AppId()
    cert_file: Annotated[
        scalars.InputFile, "The PEM certificate of a certificate app.", Meta(examples=["app.crt"])
    ] = scalars.InputFile()
    key_file: Annotated[
        scalars.InputFile,
        "The PEM private key of a certificate app, not readable by others (chmod 0600).",
        Meta(examples=["app.pem"]),
    ] = scalars.InputFile()
    acct_id: Annotated[
        names.AccountId,
        "The UUID of an LDAP app's account.",
        Meta(examples=["5cbd5b4a-4f0d-4d3e-8a51-2f5a0d0f3c77"]),
    ] = names.AccountId()
    app_name: Annotated[
        names.AppName, "The name of an LDAP app in DSM.", Meta(examples=["payments"])
    ] = names.AppName()
    password_file: Annotated[
        scalars.InputFile,
        "A file with the password of an LDAP app, not readable by others (chmod 0600).",
        Meta(examples=["payments.password"]),
    ] = scalars.InputFile()
    bind_to: Annotated[
        names.AppId,
        "The UUID of another app: its consumers can use the session, although this app's "
        "credential opened it. It lets a certificate app's host serve consumers that have no "
        "certificate. Unless `renew` is set under the app, each renewal is a login, because DSM "
        "does not document whether a reauth keeps the binding. Not for a `token_file`.",
        Meta(examples=["0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"]),
    ] = names.AppId()
    access: AccessTable = AccessTable()
    files: tuple[FileTable, ...] = ()
    sockets: tuple[SocketTable, ...] = ()
    hooks: tuple[HookTable, ...] = ()
