"""Files that the daemon reads: there, private where they must be, and what they should be."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from refresherd.config.document import AppDocument, Document
from refresherd.config.environment import Environ, credentials_directory, state_dir
from refresherd.config.findings import Findings
from refresherd.config.host import Host, Unusable, gone, no_program, read, refuse_open
from refresherd.config.keys import api_key_fault, token_fault
from refresherd.config.lines import KeyPath
from refresherd.config.pem import judge_authorities, judge_certificate, judge_private_key
from refresherd.config.scalars import Location
from refresherd.config.wording import quoted
from refresherd.domain.model import session_file
from refresherd.domain.redaction import holds_secret

Verdict = Callable[[bytes], str]
"""Tells what is wrong with a secret, "" if nothing is."""


def check_inputs(document: Document, environ: Environ, host: Host, faults: Findings) -> None:
    """Take note of every file, directory and program that cannot be used."""
    root = document.root
    _check_authorities(root.dsm.ca_file, ("dsm", "ca_file"), faults)
    _check_web_config(root.http.web_config_file, faults)
    state = state_dir(root, environ)
    # Where the directory is missing, the daemon makes it.
    if state and (fault := host.directory_fault(state.parent if gone(state) else state)):
        faults.add(("state_dir",), fault)
    for app in document.apps:
        if "ca_file" in app.given:
            _check_authorities(app.dsm.ca_file, (*app.path, "ca_file"), faults)
        _check_credential(app, environ, host, faults)
        _check_bootstrap(app, state, faults)


def _check_credential(app: AppDocument, environ: Environ, host: Host, faults: Findings) -> None:
    own, directory = app.own, credentials_directory(environ)
    if own.api_key_file:
        trusted = directory is not None and own.api_key_file.path.is_relative_to(directory)
        judge = partial(_judge, own.api_key_file.path, api_key_fault, trusted=trusted)
        _note(judge, (*app.path, "api_key_file"), faults)
    if own.api_key_credential and directory is not None:
        judge = partial(_judge_passed, directory, own.api_key_credential)
        _note(judge, (*app.path, "api_key_credential"), faults)
    if own.cert_file:
        _note(partial(judge_certificate, own.cert_file.path), (*app.path, "cert_file"), faults)
    if own.key_file:
        usable = None if (*app.path, "cert_file") in faults else own.cert_file.or_none
        judge = partial(judge_private_key, own.key_file.path, usable)
        _note(judge, (*app.path, "key_file"), faults)
    if own.api_key_command:
        _check_program(own.api_key_command[0], (*app.path, "api_key_command", 0), host, faults)


def _check_bootstrap(app: AppDocument, state: Path | None, faults: Findings) -> None:
    location = app.own.token_file
    if not location:
        return
    # Once its session is kept, the token that it came from may be deleted.
    kept = state is not None and not gone(session_file(state, app.name))
    if not kept or not gone(location.path) or holds_secret(str(location)):
        _note(partial(_judge, location.path, token_fault), (*app.path, "token_file"), faults)


def _check_program(name: str, key: KeyPath, host: Host, faults: Findings) -> None:
    if key not in faults and not host.has_program(name):
        faults.add(key, no_program(name))


def _note(judge: Callable[[], object], key: KeyPath, faults: Findings) -> None:
    try:
        judge()
    except Unusable as error:
        faults.add(key, str(error))


def _judge(path: Path, fault_of: Verdict, *, trusted: bool = False) -> None:
    """Raise Unusable for a secret's file that is not private, or does not look like one.

    `trusted` is for what systemd keeps in a directory of the service's own. What was read
    is forgotten at once.
    """
    try:
        content, mode = read(path)
    except Unusable:
        if holds_secret(path.as_posix()):
            raise Unusable(
                "this looks like the secret itself; put it in a file (chmod 0600) and write "
                "that file's path"
            ) from None
        raise
    if not trusted:
        refuse_open(path, mode)
    if fault := fault_of(content):
        raise Unusable(f"{quoted(str(path))}: {fault}")


def _judge_passed(directory: Path, name: str) -> None:
    """Raise Unusable for a credential that systemd has not passed on, or that is no API key."""
    if gone(directory / name) and not holds_secret(name):
        raise Unusable(
            f"systemd has passed on no credential {quoted(name)} (there is none in {directory}); "
            f"write LoadCredential={name}:FILE in the unit"
        )
    _judge(directory / name, api_key_fault, trusted=True)


def _check_authorities(location: Location, key: KeyPath, faults: Findings) -> None:
    if location:
        _note(partial(judge_authorities, location.path), key, faults)


def _check_web_config(location: Location, faults: Findings) -> None:
    if not location:
        return
    key = ("http", "web_config_file")
    _note(partial(read, location.path), key, faults)
    faults.add(
        key,
        "this version serves neither TLS nor basic auth, and plain pages are not what was meant; "
        'write "" and listen on a loopback address',
    )
