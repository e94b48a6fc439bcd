"""Graphs of ComfyUI: nodes with inputs, which are values or links to outputs of other nodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from librehps.errors import PromptError
from librehps.media.metadata.texts import MAX_TEXT_CHARS

# No input or class that is known has a longer name.
MAX_NAME_CHARS = 100
# A search reads a node again for each way to it, of which a graph may have many.
MAX_READ_CHARS = 4 * MAX_TEXT_CHARS
# Reading a short input takes as long as reading so many characters.
_INPUT_CHARS = 128

Inputs = Mapping[str, Any]


class Link(NamedTuple):
    """A reference to an output of a node."""

    node: str
    slot: int


class Node(NamedTuple):
    """A node: the name of its class (`class_type`), and its inputs."""

    kind: str
    inputs: Inputs

    def links(self) -> Iterator[tuple[str, Link]]:
        """Yield the name and the link of each input that is a link."""
        for name, value in self.inputs.items():
            if link := as_link(value):
                yield name, link

    def size(self) -> int:
        """Return about how many characters a reader of the inputs reads."""
        values = self.inputs.items()
        return sum(_INPUT_CHARS + len(n) + (len(v) if isinstance(v, str) else 0) for n, v in values)


@dataclass
class Graph:
    """The nodes of a graph by name, and how many characters a search may still read."""

    nodes: Mapping[str, Node]
    left: int = MAX_READ_CHARS

    def at(self, link: Link) -> Node:
        """Return the node that a link leads to; raises PromptError for a missing node."""
        if link.node not in self.nodes:
            raise untold(f"a link leads to node {link.node[:20]!r}, which is not in the graph")
        node = self.nodes[link.node]
        self.read(_INPUT_CHARS + node.size())
        return node

    def read(self, count: int) -> None:
        """Count characters that a search reads; raises PromptError if there are too many."""
        self.left -= count
        if self.left < 0:
            raise untold(f"it is too large (more than {MAX_READ_CHARS} characters to read)")


def as_graph(record: Mapping[str, Any]) -> Graph:
    """Return the nodes in a JSON object; other entries are left out."""
    found = {}
    for name, entry in record.items():
        if isinstance(entry, dict) and isinstance(entry.get("inputs"), dict):
            kind = str(entry.get("class_type") or "without a class")
            inputs = {n: v for n, v in entry["inputs"].items() if len(n) <= MAX_NAME_CHARS}
            found[name] = Node(kind[:MAX_NAME_CHARS], inputs)
    return Graph(found)


def is_graph(record: Mapping[str, Any]) -> bool:
    """Return whether a JSON object has an entry with the class and the inputs of a node."""
    return any(
        isinstance(e, dict) and {"class_type", "inputs"} <= e.keys() for e in record.values()
    )


def as_link(value: Any) -> Link | None:
    """Return the link that an input's value stands for; None for other values."""
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str | int) and isinstance(slot, int):
            return Link(str(node), slot)
    return None


def untold(reason: str) -> PromptError:
    """Return the error for a graph that does not tell one prompt."""
    return PromptError(f"the prompt cannot be told from the file's ComfyUI graph: {reason}")


def unknown(node: Node, what: str = "is not known as a generator or a text encoder") -> PromptError:
    """Return the error for a node of a class that is not known."""
    return untold(f"node {node.kind!r} {what}")
