"""Files that the daemon reads and programs that it runs: they exist, are private and make sense."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from errno import EINVAL
from functools import cache, partial
from pathlib import Path

from refresherd.config.credential_formats import (
    api_key_fault,
    authorities_fault,
    certificate_fault,
    private_key_fault,
    token_fault,
)
from refresherd.config.credentials import Environ, credentials_directory, state_dir
from refresherd.config.findings import Finding, KeyPath, quoted
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.scalars import Location
from refresherd.domain.model import session_file
from refresherd.domain.redaction import holds_secret

MOST_READ = 1 << 20
"""Far more than any key, certificate or bundle of authorities; in bytes."""

OPEN_TO_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP

PASTED_FOR_PATH = (
    "this looks like the secret itself; put it in a file (chmod 0600) and write that file's path"
)

Judge = Callable[[bytes], str]
"""Returns what is wrong with a file's content, "" if nothing is."""


def check_input_files(settings: Settings, environ: Environ) -> Iterator[Finding]:
    """Yield every file that cannot be used, and every credential program that is missing."""
    root = settings.root
    yield from _check_authorities(root.dsm.ca_file, ("dsm", "ca_file"))
    yield from _check_web_config(root.http.web_config_file)
    state = state_dir(root, environ)
    program_fault = cache(partial(_program_fault, environ=environ))
    for app in settings.apps:
        if "ca_file" in app.written:
            yield from _check_authorities(app.dsm.ca_file, (*app.path, "ca_file"))
        yield from _check_api_key(app, credentials_directory(environ))
        key, command = (*app.path, "api_key_command", 0), app.own.api_key_command
        if command and settings.valid(key) and (fault := program_fault(command[0])):
            yield Finding(key, fault)
        yield from _check_certificate(app)
        yield from _check_token_file(app, state)


def check_hook_programs(settings: Settings, environ: Environ) -> Iterator[Finding]:
    """Yield hooks whose program is missing: a warning, since a failing hook harms no token."""
    program_fault = cache(partial(_program_fault, environ=environ))
    for app in settings.apps:
        for index, hook in enumerate(app.own.hooks):
            if hook.command and (fault := program_fault(hook.command[0])):
                yield Finding((*app.path, "hooks", index, "command", 0), fault)


def is_missing(path: Path) -> bool:
    """Return whether there is nothing at a path; False if that cannot be found out."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _check_api_key(app: AppSettings, directory: Path | None) -> Iterator[Finding]:
    """Yield faults of an API key's file; `directory` holds the service's systemd credentials."""
    own = app.own
    if own.api_key_file:
        file = own.api_key_file.path
        # What systemd keeps there is the service's own, whatever its mode looks like.
        private = directory is None or not file.is_relative_to(directory)
        key = (*app.path, "api_key_file")
        yield from _check_file(file, api_key_fault, key, private=private, secret=True)
    if own.api_key_credential and directory is not None:
        name, key = own.api_key_credential, (*app.path, "api_key_credential")
        if is_missing(directory / name) and not holds_secret(name):
            yield Finding(
                key,
                f"systemd has not passed the credential {quoted(name)} (it is not in "
                f"{directory}); add LoadCredential={name}:FILE to the unit",
            )
        else:
            yield from _check_file(directory / name, api_key_fault, key, secret=True)


def _check_certificate(app: AppSettings) -> Iterator[Finding]:
    own, certificate = app.own, app.own.cert_file.or_none
    if certificate is not None:
        faults = list(_check_file(certificate, certificate_fault, (*app.path, "cert_file")))
        yield from faults
        certificate = None if faults else certificate
    if own.key_file:
        path = own.key_file.path
        judge = partial(private_key_fault, path=path, certificate=certificate)
        yield from _check_file(path, judge, (*app.path, "key_file"), private=True)


def _check_token_file(app: AppSettings, state: Path | None) -> Iterator[Finding]:
    location = app.own.token_file
    if not location:
        return
    # Once a session that came from it is saved, the file may be deleted.
    saved = state is not None and not is_missing(session_file(state, app.name))
    if not saved or not is_missing(location.path) or holds_secret(str(location)):
        key = (*app.path, "token_file")
        yield from _check_file(location.path, token_fault, key, private=True, secret=True)


def _check_authorities(location: Location, key: KeyPath) -> Iterator[Finding]:
    if location:
        yield from _check_file(location.path, lambda _: authorities_fault(location.path), key)


def _check_web_config(location: Location) -> Iterator[Finding]:
    if location:
        key = ("http", "web_config_file")
        yield from _check_file(location.path, lambda _: "", key)
        yield Finding(
            key,
            "this version supports neither TLS nor basic authentication, and does not serve plain "
            'pages in their place; write "" and listen on a loopback address',
        )


def _check_file(
    path: Path, judge: Judge, key: KeyPath, *, private: bool = False, secret: bool = False
) -> Iterator[Finding]:
    """Yield why a file cannot be used: a `private` one must not be accessible to others.

    If it holds a `secret`, the secret itself may have been written for the path. What was read is
    forgotten at once.
    """
    name = quoted(str(path))
    try:
        content, mode = _read(path)
    except OSError as error:
        misplaced = secret and holds_secret(path.as_posix())
        yield Finding(key, PASTED_FOR_PATH if misplaced else _unreadable(name, error))
        return
    if private and mode & OPEN_TO_OTHERS:
        message = f"{name} is accessible to other users (mode {stat.S_IMODE(mode):04o})"
        yield Finding(key, f"{message}; run chmod 0600 {name}")
    elif fault := judge(content):
        yield Finding(key, f"{name}: {fault}")


def _read(path: Path) -> tuple[bytes, int]:
    """Return a regular file's content and its mode. Raises OSError.

    It opens without blocking, because a named pipe would hold up the start for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):
            raise OSError(EINVAL, "not a regular file; name a file that can be read repeatedly")
        return os.read(descriptor, MOST_READ), mode
    finally:
        os.close(descriptor)


def _unreadable(name: str, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return f"{name} does not exist; create it, or correct the path"
        case IsADirectoryError():
            return f"{name} is a directory; name a file in it"
        case _:
            return f"{name} cannot be read: {error.strerror}"


def _program_fault(name: str, environ: Environ) -> str:
    # A relative path would depend on the daemon's working directory.
    relative = "/" in name and not name.startswith("/")
    search = environ.get("PATH", os.defpath)
    if not relative and shutil.which(name, path=search) is not None:
        return ""
    return (
        f"the program {quoted(name)} was not found; write an absolute path or a name on PATH, and "
        "each argument as a separate string"
    )
