"""Typed values of a YAML document, so that every fault is found at once, each with its line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from refresherd.config.findings import Finding, KeyPath, Kind, listed, nearest, quoted
from refresherd.config.scalars import InputFile
from refresherd.config.yaml_document import Node

T = TypeVar("T")

TRUTH = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
"""The truth values of YAML 1.1, which is what exporter-toolkit reads."""


@dataclass(slots=True)
class Found:
    """What was found in a document so far."""

    base: Path
    """The directory to which its paths are relative."""
    findings: list[Finding] = field(default_factory=list)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    inputs: dict[KeyPath, InputFile] = field(default_factory=dict)
    """The files that it names."""

    @property
    def usable(self) -> bool:
        """Whether there is nothing but warnings."""
        return all(finding.kind is Kind.WARNING for finding in self.findings)


class Table:
    """A mapping of the document; it is empty if there is something else in its place."""

    def __init__(
        self,
        found: Found,
        path: KeyPath,
        node: Node | None,
        known: Iterable[str] | None,
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`known` are the keys that it may have, None means any; `refused` are known elsewhere.

        Each of those has its own message.
        """
        self.found = found
        self.path = path
        self._entries: dict[str, Node] = {}
        if node is None or node.missing:
            return
        if not isinstance(node.value, dict):
            self.fault((), "this has to be a mapping: write its keys below it, indented")
            return
        self._entries = node.value
        for key, inner in node.value.items():
            found.lines[*path, key] = inner.line
            if key in refused:
                self.fault((key,), refused[key])
            elif known is not None and key not in (names := tuple(known)):
                meant = nearest(key, names)
                cure = f"did you mean {meant}?" if meant else f"there are {listed(names, 'and')}"
                self.fault((key,), f"unknown key; {cure}")

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are written, in order."""
        return tuple(self._entries)

    def has(self, key: str) -> bool:
        """Return whether something is written at a key, be it right or wrong."""
        node = self._node(key)
        return node is not None and node.value != ""

    def fault(self, key: KeyPath, message: str, kind: Kind = Kind.FAULT) -> None:
        """Add a finding about a key of this table, or about the table itself: ()."""
        self.found.findings.append(Finding((*self.path, *key), message, kind))

    def table(
        self,
        key: str,
        known: Iterable[str] | None,
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> "Table":
        """Return the table at a key."""
        return Table(self.found, (*self.path, key), self._entries.get(key), known, refused)

    def text(self, key: str) -> str:
        """Return the text at a key, "" if there is none."""
        node = self._node(key)
        if node is None:
            return ""
        if not isinstance(node.value, str):
            self.fault((key,), "this has to be a single value")
            return ""
        return node.value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts at a key."""
        node = self._node(key)
        if node is None:
            return ()
        if not isinstance(node.value, list):
            self.fault((key,), "this has to be a list: each item on a line, after a dash")
            return ()
        texts = []
        for index, item in enumerate(node.value):
            self.found.lines[*self.path, key, index] = item.line
            if isinstance(item.value, str) and not item.missing:
                texts.append(item.value)
            else:
                self.fault((key, index), "this has to be a text")
        return tuple(texts)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the truth value at a key."""
        node = self._node(key)
        if node is None:
            return default
        if isinstance(node.value, str) and node.plain and node.value in TRUTH:
            return TRUTH[node.value]
        self.fault((key,), "this has to be true or false, without quotes")
        return default

    def choice(self, key: str, choices: Mapping[str, T], default: T) -> T:
        """Return what the text at a key stands for."""
        text = self.text(key)
        if not text:
            return default
        if text not in choices:
            self.fault((key,), f"{quoted(text)} is not one of the choices; {_choices(choices)}")
            return default
        return choices[text]

    def file(self, key: str) -> Path | None:
        """Return the path of the file at a key, None if there is none."""
        text = self.text(key)
        if not text:
            return None
        try:
            file = InputFile(text, self.found.base)
        except ValueError as error:
            self.fault((key,), str(error) or f"this is not a path; write {InputFile.expected}")
            return None
        self.found.inputs[*self.path, key] = file
        return file.path

    def _node(self, key: str) -> Node | None:
        node = self._entries.get(key)
        return None if node is None or node.missing else node


def _choices(choices: Iterable[str]) -> str:
    return f"write {listed(choices)}"
