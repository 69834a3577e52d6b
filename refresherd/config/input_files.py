"""Files that the daemon reads and programs that it runs: they exist, are private and make sense."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from errno import EINVAL
from functools import cache, partial
from pathlib import Path

from refresherd.config import credentials
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.names import CredentialName
from refresherd.config.parse import Settings
from refresherd.config.scalars import InputFile
from refresherd.domain import certificates
from refresherd.domain.certificates import Validity
from refresherd.domain.credential_formats import api_key_fault, password_fault, token_fault
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


def check_input_files(settings: Settings) -> Iterator[Finding]:
    """Yield every file that cannot be used, and every credential program that is missing."""
    files = dict(settings.written(InputFile))
    for key in files:
        yield from _check_input_file(settings, files, key)
    yield from _check_programs(settings)
    if directory := settings.credentials_directory:
        for key, name in settings.written(CredentialName):
            if is_missing(directory / name):
                yield Finding(
                    key,
                    f"systemd has not passed the credential {quoted(name)} (it is not in "
                    f"{directory}); add LoadCredential={name}:FILE to the unit",
                    Kind.TROUBLE,
                )
            else:
                yield from check_file(directory / name, api_key_fault, key)


def _check_programs(settings: Settings) -> Iterator[Finding]:
    """Yield the programs of commands that are missing."""
    found = cache(partial(shutil.which, path=settings.search_path))
    for key, name in settings.programs:
        # A relative path would depend on the daemon's working directory.
        relative = "/" in name and not name.startswith("/")
        if relative or found(name) is None:
            # A failing hook harms no token.
            kind = Kind.WARNING if key[-2] == "command" else Kind.TROUBLE
            yield Finding(
                key,
                f"the program {quoted(name)} was not found; write an absolute path or a name "
                "on PATH, and each argument as a separate string",
                Kind.FAULT if relative and kind is Kind.TROUBLE else kind,
            )


def is_missing(path: Path) -> bool:
    """Return whether there is nothing at a path; False if that cannot be found out."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def _check_input_file(
    settings: Settings, files: Mapping[KeyPath, InputFile], key: KeyPath
) -> Iterator[Finding]:
    """Yield why the file at a key, one of `files`, cannot be used."""
    path = files[key].path
    match key[-1]:
        case "ca_file":
            yield from check_file(path, lambda _: credentials.authorities_fault(path), key)
        case "api_key_file" | "password_file":
            directory = settings.credentials_directory
            # Credentials that systemd passes are private to the service, whatever their modes.
            private = directory is None or not path.is_relative_to(directory)
            is_key = key[-1] == "api_key_file"
            fault = api_key_fault if is_key else password_fault
            yield from check_file(path, fault, key, private=private, secret=True)
        case "token_file":
            state, app = settings.state_dir, str(key[1])
            # Once a session that came from it is saved, the file may be deleted.
            saved = state is not None and not is_missing(session_file(state, app))
            if not saved or not is_missing(path) or holds_secret(files[key]):
                yield from check_file(path, token_fault, key, private=True, secret=True)
        case "cert_file":
            yield from check_file(path, credentials.certificate_fault, key)
            yield from _check_expiry(path, key)
        case "key_file":
            location = files.get((*key[:-1], "cert_file"))
            certificate = location.path if location else None
            if certificate and any(check_file(certificate, credentials.certificate_fault, key)):
                certificate = None  # its own fault is reported at its own key
            judge = partial(credentials.private_key_fault, path=path, certificate=certificate)
            yield from check_file(path, judge, key, private=True)


def check_file(
    path: Path, judge: Judge, key: KeyPath, *, private: bool = False, secret: bool = False
) -> Iterator[Finding]:
    """Yield why a file cannot be used: a `private` one must not be accessible to others.

    Operators sometimes write a `secret` itself where its file's path belongs; that is reported
    without quoting it. The content is not kept.
    """
    name = quoted(str(path))
    try:
        content, mode = _read(path)
    except OSError as error:
        if secret and holds_secret(path.as_posix()):
            yield Finding(key, PASTED_FOR_PATH)
        else:
            yield unusable(path, error, key)
        return
    if private and mode & OPEN_TO_OTHERS:
        message = f"{name} is accessible to other users (mode {stat.S_IMODE(mode):04o})"
        # Kubernetes mounts secrets read-only, with mode 0644 unless the pod says otherwise.
        cure = 'mount it with another mode ("defaultMode: 0440")'
        yield Finding(key, f"{message}; {cure if is_read_only(path) else f'run chmod 0600 {name}'}")
    elif fault := judge(content):
        yield Finding(key, f"{name}: {fault}", Kind.TROUBLE)


def unusable(path: Path, error: OSError, key: KeyPath) -> Finding:
    """Return the finding about a file at a key that cannot be read."""
    name = quoted(str(path))
    if isinstance(error, FileNotFoundError):
        message = f"{name} does not exist; create it, or correct the path"
    elif isinstance(error, IsADirectoryError):
        message = f"{name} is a directory; name a file in it"
    else:
        message = f"{name} cannot be read: {error.strerror}"
    return Finding(key, message, Kind.TROUBLE)


def is_read_only(path: Path) -> bool:
    """Return whether a path is on a read-only mount."""
    with suppress(OSError):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return False


def _check_expiry(path: Path, key: KeyPath) -> Iterator[Finding]:
    """Yield that a client certificate has expired, or expires soon."""
    try:
        dates, now = certificates.dates(_read(path)[0]), time.time()
    except (OSError, ValueError):
        return  # another check says so
    if notice := certificates.notice(dates, now):
        expired = certificates.validity(dates, now) is Validity.EXPIRED
        kind = Kind.TROUBLE if expired else Kind.WARNING
        yield Finding(key, f"{quoted(str(path))}: {notice}", kind)


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
