"""Configurations for tests: checked in memory, or loaded from a directory with what they need."""

import json
import os
import warnings
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from refresherd.config import Configuration, load
from refresherd.config.collisions import Collisions
from refresherd.config.configuration import build
from refresherd.config.credentials import check_credentials
from refresherd.config.environment import check_environment
from refresherd.config.findings import Kind
from refresherd.config.parse import parse_settings
from refresherd.config.rules import check_rules
from refresherd.config.source import read_toml, report
from refresherd.domain.errors import ConfigError
from refresherd.host.path_identity import Resolver
from support.fakes import API_KEY

FILE = Path("/etc/refresherd/config.toml")

ENVIRON: Mapping[str, str] = {
    "FORTANIX_API_KEY": API_KEY,
    "PATH": "/usr/bin:/bin",
    "RUNTIME_DIRECTORY": "/run/refresherd",
}
"""A unit's, whose API socket has a directory by default."""

NOBODY = 65534
"""A user, and a group, who own nothing and may do nothing."""

DSM = '[dsm]\nendpoint = "https://amer.smartkey.io"\n'

APP = '[apps.payments]\napi_key_env = "FORTANIX_API_KEY"\n'


def faults_in(text: str, environ: Mapping[str, str] = ENVIRON) -> tuple[str, ...]:
    """Return what is wrong with a text on any machine, without the file's name.

    The troubles among it are those of the environment.
    """
    settings = parse_settings(read_toml(FILE, text), FILE, environ)
    checks = check_rules, check_credentials, check_environment
    spelled = Collisions(settings, Resolver(looks=False))
    found = (check(settings) for check in checks)
    findings = chain(settings.faults, spelled.findings(), *found)
    lines = report(FILE, text, findings)
    wrong = (*lines[Kind.FAULT], *lines[Kind.TROUBLE])
    return tuple(line.removeprefix(f"{FILE}:") for line in wrong)


def configuration_in(text: str, environ: Mapping[str, str] = ENVIRON) -> Configuration:
    """Return the configuration of a text without faults, unchecked against the machine."""
    assert faults_in(text, environ) == ()
    return build(parse_settings(read_toml(FILE, text), FILE, environ), report(FILE, text, ()))


class Place:
    """A directory with a configuration file, and an API key beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "config.toml"
        self.environ = dict(ENVIRON)
        self.write("payments.key", API_KEY)

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """Write a file beside the configuration."""
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def load(self, text: str) -> Configuration:
        """Load a configuration."""
        self.file.write_text(text)
        return load(self.file, self.environ)

    def faults(self, text: str) -> tuple[str, ...]:
        """Return a configuration's faults and troubles, without the file's name."""
        self.file.write_text(text)
        return self._faults_of_file()

    def faults_of_nobody(self, text: str) -> tuple[str, ...]:
        """Return what a user without privileges finds wrong, from a child if this is root.

        The directory has to be one that every user may enter.
        """
        if os.geteuid() != 0:
            return self.faults(text)
        self.write(self.file.name, text, 0o644)
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            # The child of a process with threads runs nothing that they may have locked.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                os.write(writer, json.dumps(self._faults_of_file()).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answer:
            faults = json.load(answer)
        os.waitpid(child, 0)
        return tuple(faults)

    def _faults_of_file(self) -> tuple[str, ...]:
        try:
            lines = load(self.file, self.environ).troubles
        except ConfigError as error:
            others = (line for line in error.others if ": warning: " not in line)
            lines = (*error.faults, *(line for line in others if ": note: " not in line))
        return tuple(line.removeprefix(f"{self.file}:") for line in lines)
