"""The file that `web_config_file` names, whose libraries are imported only if it is set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from refresherd.config.findings import Finding, KeyPath, Kind
from refresherd.config.scalars import InputFile
from refresherd.config.source import at_lines
from refresherd.host.http.protection import Protection, ProtectionReading

WEB: KeyPath = ("http", "web_config_file")
"""Where the configuration names the file; keys within it stand behind this in a key path."""

LIBRARIES = {"yaml": "PyYAML", "bcrypt": "bcrypt"}
"""What the extra [web] installs, by the names under which it is imported."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """What was found in the file."""

    path: Path
    findings: tuple[Finding, ...] = ()
    """Their key paths begin within the file."""
    unreadable: tuple[str, ...] = ()
    """Why it is not valid YAML: lines as in a report."""
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    """On which line each of its keys stands."""
    inputs: Mapping[KeyPath, InputFile] = field(default_factory=dict)
    """The files that it names, by key."""
    protection: Protection | None = None
    """None if anything is wrong with it."""

    def report(self, findings: Iterable[Finding]) -> Mapping[Kind, tuple[str, ...]]:
        """Return findings about it as lines; `unreadable` comes first."""
        lines = at_lines(self.path, self.lines, dict.fromkeys(findings))
        return {**lines, Kind.FAULT: (*self.unreadable, *lines[Kind.FAULT])}


def read_web_file(path: Path) -> WebFile:
    """Return what the web configuration at a path says, or what is wrong with it."""
    lacking = [name for module, name in LIBRARIES.items() if find_spec(module) is None]
    if lacking:
        cure = "install them where refresherd is installed: pip install 'refresherd[web]'"
        message = f"it needs libraries that are missing ({', '.join(lacking)}); {cure}"
        return WebFile(path, (Finding((), message),))
    from refresherd.config.web_config import read  # noqa: PLC0415  # it needs the libraries

    return read(path)


def read_web_config(path: Path) -> ProtectionReading:
    """Return the same for a running daemon. It blocks."""
    found = read_web_file(path)
    lines = found.report(found.findings)
    faults = (*lines[Kind.FAULT], *lines[Kind.TROUBLE])
    files = (path, *(file.path for file in found.inputs.values()))
    return ProtectionReading(found.protection, faults, files)
