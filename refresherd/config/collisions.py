"""Paths that lead to one file: no output may be where another output or an input is.

`host.path_identity` compares them as the kernel does, so no spelling hides a collision.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

from refresherd.config.findings import Finding, KeyPath, dotted, quoted
from refresherd.config.names import CredentialName
from refresherd.config.parse import Settings
from refresherd.config.scalars import InputFile, OutputPath
from refresherd.config.source import STANDARD_INPUT
from refresherd.host.directories import TEMPORARY
from refresherd.host.path_identity import Directory, Entry, Resolver

ReadNames: TypeAlias = Mapping[Directory, Mapping[str, str]]
"""The names of files that are read, by their directories, each with what it is."""

STATE_FILES = ("lock", "logins", "generations")
"""Names of the daemon's own files in state_dir, besides those of sessions."""


class Collisions:
    """Where the paths of a configuration lead: on this host, or by their spelling alone."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        state = settings.state_dir
        self._state = None if state is None else resolver.directory(state).directory
        # The API socket has a path even if the file does not set one.
        outputs: dict[KeyPath, OutputPath] = {("api", "path"): settings.root.api.path}
        outputs.update(settings.written(OutputPath))
        self._outputs = {
            key: (location.path, resolver.directory(location.path.parent))
            for key, location in outputs.items()
            if location
        }
        self._inputs: dict[KeyPath, tuple[Path, Entry]] = {}
        """Each input's path, and the entry to which it finally leads."""
        self._traversed: dict[Entry, KeyPath] = {}
        """The links and missing directories that paths lead through, and the names of inputs."""
        self._files: dict[Directory, KeyPath] = {}
        """The inputs by device and inode: links and mounts may give a file several names."""
        for key, path in inputs(settings, resolver):
            place = resolver.opened(path)
            self._inputs[key] = path, place.traversed[-1]
            if not place.missing:
                self._files.setdefault(place.inode, key)
            for entry in place.traversed:
                self._traversed.setdefault(entry, key)
        for key, (_, place) in self._outputs.items():
            for entry in place.traversed:
                self._traversed.setdefault(entry, key)

    @property
    def read(self) -> ReadNames:
        """The names that lead to inputs or to the API, which no output may take later either."""
        names: dict[Directory, dict[str, str]] = {}
        for (directory, name), key in self._traversed.items():
            if key in self._inputs:
                names.setdefault(directory, {})[name] = str(key[-1]) if key else "configuration"
        if api := self._outputs.get(("api", "path")):
            path, place = api
            directory, name = place.entry(path.name)
            names.setdefault(directory, {}).setdefault(name, "the API's socket")
        return names

    def findings(self) -> Iterator[Finding]:
        """Yield each path that leads to the file of another one."""
        for key, (_, entry) in self._inputs.items():
            if self._is_state_file(entry):
                yield Finding(
                    key,
                    "the daemon keeps a file of its own by this name in state_dir; "
                    "write another path",
                )
        written: dict[Entry, KeyPath] = {}
        for key, (path, place) in self._outputs.items():
            entry = place.entry(path.name)
            other = written.setdefault(entry, key)
            if other != key:
                its_path, _ = self._outputs[other]
                message = f"{dotted(other)} has the same path{_as(its_path, path)}".rstrip(",")
            elif place.directory == self._state:
                message = "state_dir is for the daemon's own files"
            elif TEMPORARY.fullmatch(path.name):
                message = "the daemon removes files of such names, as those of its temporary files"
            else:
                message = self._overwritten(entry, path)
            if message:
                yield Finding(key, f"{message}; write another path")

    def _overwritten(self, entry: Entry, path: Path) -> str:
        """Return which file an output at this path would overwrite, "" if none."""
        key = self._traversed.get(entry)
        if key is None and self._files:
            with suppress(OSError):
                found = path.lstat()
                key = self._files.get((found.st_dev, found.st_ino))
        if key is None:
            return ""
        name = dotted(key) if key else "this configuration"
        if key in self._outputs:
            its_path, _ = self._outputs[key]
            return f"the path of {name}, {quoted(str(its_path))}, leads through this one"
        its_path, _ = self._inputs[key]
        return f"{name} is read from this path{_as(its_path, path)} and would be overwritten"

    def _is_state_file(self, entry: Entry) -> bool:
        """Return whether this is a name in state_dir for a file of the daemon itself."""
        directory, _, name = entry.name.rpartition("/")
        own = name in STATE_FILES or name.endswith(".session") or TEMPORARY.fullmatch(name)
        return bool(own) and Entry(entry.directory, directory) == self._state


def _as(its_path: Path, path: Path) -> str:
    return "" if its_path == path else f", written as {quoted(str(its_path))},"


def inputs(settings: Settings, resolver: Resolver) -> Iterator[tuple[KeyPath, Path]]:
    """Yield the key and the path of each file that the daemon reads, programs included."""
    if settings.file != STANDARD_INPUT.absolute():
        yield (), settings.file
    for key, location in settings.written(InputFile):
        yield key, location.path
    directory = settings.credentials_directory
    if directory is not None:
        for key, credential in settings.written(CredentialName):
            yield key, directory / credential
    found = cache(partial(shutil.which, path=settings.search_path))
    for key, name in settings.programs:
        program = found(name) if resolver.looks else name
        if program is not None and program.startswith("/"):
            yield key, Path(program)
