"""YAML as a web configuration needs it: mappings, lists and texts, with the line of each.

Only the parser of PyYAML is used, and only as far as the file is simple: what its other layers make
of a file, such as dates, objects, and lists that contain each other a billion times, has no place
in a configuration.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from refresherd.config.findings import quoted
from refresherd.config.source import fault_at

DEEPEST = 8
"""Mappings and lists within each other; a web configuration has three."""

NO_CHARACTER = "an escape (\\u) stands for no character; write the character itself"

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
"""What stands for no value, if it is written without quotes."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and the line on which it begins, or its key if it has one."""

    line: int
    value: "str | list[Node] | dict[str, Node]"
    plain: bool = False
    """Whether it is a text without quotes, so that `true` is no string."""

    @property
    def missing(self) -> bool:
        """Whether there is no value: a key with nothing behind it."""
        return self.plain and self.value in NULLS


def parse(path: Path, text: str) -> Node:
    """Return the only document in a text. Raises ConfigError if it is not such YAML."""
    builder = _Builder(path)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise fault_at(path, line, "a control character; delete it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise fault_at(path, line, f"invalid YAML: {error.problem}") from None
    except (OverflowError, ValueError):  # PyYAML's own, of "\\U00110000" and more than that
        raise fault_at(path, builder.line, f"from here on: {NO_CHARACTER}") from None
    return builder.root or Node(1, "", plain=True)


class _Builder:
    """Makes nodes of PyYAML's events, without recursion."""

    def __init__(self, path: Path) -> None:
        self.root: Node | None = None
        self.line = 1
        """That of the last event."""
        self._path = path
        self._open: list[Node] = []
        """Mappings and lists that are not complete."""
        self._keys: list[Node | None] = []
        """For each of them, the key whose value comes next."""

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises ConfigError."""
        self.line = line = 1 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            message = "anchors and aliases are not accepted; write the value itself"
            raise fault_at(self._path, line, message)
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            raise fault_at(self._path, line, "a tag (!) is not accepted; write the value alone")
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                message = "a second document; the file has to be one"
                raise fault_at(self._path, line, message)
            case yaml.ScalarEvent():
                if any(map(_is_surrogate, event.value)):
                    raise fault_at(self._path, line, NO_CHARACTER)
                self._add(Node(line, event.value, plain=event.style is None))
            case yaml.MappingStartEvent():
                self._begin(Node(line, {}))
            case yaml.SequenceStartEvent():
                self._begin(Node(line, []))
            case yaml.CollectionEndEvent():
                self._open.pop()
                self._keys.pop()
            case _:
                pass

    def _begin(self, node: Node) -> None:
        if len(self._open) == DEEPEST:
            raise fault_at(self._path, node.line, "too many levels; no key is so deep")
        node = self._add(node)
        self._open.append(node)
        self._keys.append(None)

    def _add(self, node: Node) -> Node:
        """Put a node in its place, and return it as it stands there."""
        if not self._open:
            self.root = node
            return node
        parent, key = self._open[-1].value, self._keys[-1]
        if isinstance(parent, list):
            parent.append(node)
        elif isinstance(parent, dict) and key is None:
            self._keys[-1] = self._checked_key(parent, node)
        elif isinstance(parent, dict) and key is not None:
            node = replace(node, line=key.line)
            parent[str(key.value)] = node
            self._keys[-1] = None
        return node

    def _checked_key(self, parent: dict[str, Node], key: Node) -> Node:
        if not isinstance(key.value, str):
            raise fault_at(self._path, key.line, "a key has to be a name")
        if key.value in parent:
            before = parent[key.value].line
            message = f"{quoted(key.value)} is already set on line {before}; delete one of the two"
            raise fault_at(self._path, key.line, message)
        return key


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
