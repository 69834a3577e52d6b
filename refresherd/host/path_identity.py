"""Which file a path stands for, whatever its spelling, and which output may write there.

Links, bind mounts and `..` give one file many paths. So this module identifies a file as the kernel
does: by its name in a directory, and that by device and inode. `Resolver` follows paths beforehand;
`Claims` checks each directory that was opened, since links may appear later.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from refresherd.domain.errors import OutputError

MOST_LINKS = 40
"""The kernel follows no more of them in one path: path_resolution(7)."""

Directory: TypeAlias = tuple[int, int]
"""An existing directory: its device and its inode."""


class Entry(NamedTuple):
    """A name, and the nearest existing directory above it.

    Where directories are missing, their names stand before the file's: `run/payments.token`.
    """

    directory: Directory
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads."""

    real: Path
    """The nearest thing that exists there, by a path without links."""
    inode: Directory
    """Its device and inode."""
    missing: str = ""
    """The names below it that do not exist, separated by slashes; "" if all do."""
    traversed: tuple[Entry, ...] = ()
    """The links and missing names on the way. No output may replace them."""
    steps: tuple[Path, ...] = ()
    """Everything on the way that exists, links included, by paths whose parents have no links."""

    @property
    def directory(self) -> Entry:
        """The same place, as an entry."""
        return Entry(self.inode, self.missing)

    def entry(self, name: str) -> Entry:
        """Return a name in it."""
        return Entry(self.inode, f"{self.missing}/{name}" if self.missing else name)

    def below(self, name: str) -> "Place":
        """Return the place of a missing name in it."""
        entry = self.entry(name)
        return replace(self, missing=entry.name, traversed=(*self.traversed, entry))


class Resolver:
    """Follows paths as the kernel does. It looks at each directory once, so use it for one check.

    What it may not look at counts as missing. Without `looks` everything does: then paths are
    compared by their spelling, for the configuration of another host.
    """

    def __init__(self, *, looks: bool = True) -> None:
        self.looks = looks
        top = Path("/")
        root = top.stat()
        self._root = Place(top, (root.st_dev, root.st_ino) if looks else (0, 0))
        self._directories: dict[Path, Place] = {top: self._root}
        self._links_left = MOST_LINKS

    def directory(self, path: Path) -> Place:
        """Return the place of a directory; its path is absolute and has no `..`."""
        self._links_left = MOST_LINKS
        return self._directory(path)

    def opened(self, path: Path) -> Place:
        """Return where the file at a path is; a link as its last name is followed as well.

        The last entry traversed is the file itself.
        """
        return self._step(self.directory(path.parent), path.name, last=True)

    def _directory(self, path: Path) -> Place:
        if path not in self._directories:
            place = self._root
            for above in (*reversed(path.parents), path)[1:]:
                if above not in self._directories:
                    self._directories[above] = self._step(place, above.name)
                place = self._directories[above]
        return self._directories[path]

    def _step(self, at: Place, name: str, *, last: bool = False) -> Place:
        """Return where a name in a place leads. The `last` name counts as traversed.

        What the kernel refuses, such as a loop of links, counts as missing.
        """
        if not self.looks or at.missing:
            return at.below(name)
        path = at.real / name
        try:
            found = path.lstat()
            target = path.readlink() if stat.S_ISLNK(found.st_mode) else None
        except OSError:
            return at.below(name)
        traversed = at.traversed if target is None and not last else (*at.traversed, at.entry(name))
        steps = (*at.steps, path)
        if target is None:
            return Place(path, (found.st_dev, found.st_ino), traversed=traversed, steps=steps)
        if self._links_left == 0:
            return at.below(name)
        self._links_left -= 1
        place = replace(
            self._root if target.is_absolute() else at, traversed=traversed, steps=steps
        )
        names = target.parts[1:] if target.is_absolute() else target.parts
        for index, one in enumerate(names, 1):
            if one == ".." and not place.missing:
                # No link is left in the path, so its parent is the directory's own.
                above = self._directory(place.real.parent)
                place = replace(above, traversed=place.traversed, steps=place.steps)
            else:
                place = self._step(place, one, last=last and index == len(names))
        return place


class Claims:
    """Which output owns which name, so that no two write one file, nor any file that is read.

    An output claims its name each time it has opened its directory. Threads may share this, since
    each step is one operation on a dictionary.
    """

    def __init__(self, private: Callable[[], Directory | None] = lambda: None) -> None:
        """`private` returns the state directory, in which no output may be."""
        self._private = private
        self._read: Mapping[Directory, Mapping[str, str]] = {}
        self._held: dict[str, Directory | None] = {}
        """The directory in which each output has claimed its name, by the output's path."""
        self._owners: dict[Directory, dict[str, str]] = {}
        """The path of the output that has claimed each name."""

    def configure(
        self, outputs: Iterable[str], read: Mapping[Directory, Mapping[str, str]]
    ) -> None:
        """Set the paths of all outputs, and the names of files that are read, with their keys."""
        self._read = read
        self._held = {path: self._held.get(path) for path in outputs}
        self._owners = {
            directory: {name: path for name, path in owners.items() if path in self._held}
            for directory, owners in self._owners.items()
        }

    def claim(self, directory: int, path: str, name: str) -> None:
        """Claim a name in an open directory for the output at `path`. Raises OutputError."""
        found = os.fstat(directory)
        here = found.st_dev, found.st_ino
        held = self._held.get(path)
        before = None if held in (None, here) else self._owners.get(held)
        if before is not None and before.get(name) == path:
            del before[name]
        if here == self._private():
            raise _refusal(path, "it is in state_dir now")
        if key := self._read.get(here, {}).get(name):
            raise _refusal(path, f"it would overwrite a file that is read ({key})")
        owners = self._owners.setdefault(here, {})
        # An output that a reload no longer names claims nothing: it may only remove its file.
        owner = owners.setdefault(name, path) if path in self._held else owners.get(name, path)
        if owner != path:
            raise _refusal(path, f"it is the same file as {owner} now")
        if held != here and path in self._held:
            self._held[path] = here


def _refusal(path: str, reason: str) -> OutputError:
    return OutputError(f"{path}: {reason}, through a link or a mount; correct that")
