"""Texts of a ComfyUI graph: a string, or the string that nodes hand on or join."""

import re
from dataclasses import dataclass, field
from typing import Any

from librehps.media.metadata.comfyui.graph import (
    Graph,
    Link,
    Node,
    as_link,
    unknown,
    untold,
)
from librehps.media.metadata.comfyui.nodes import POPULATED, populated
from librehps.media.metadata.texts import MAX_TEXT_CHARS

MAX_DEPTH = 64
# Names of the input of a node that holds or hands on a string.
_VALUE = ("text", "string", "value", "prompt", "positive", "anything", "source", "any_01")
_JOINS = re.compile(
    r"StringConcatenate|Text Concatenate.*|JoinStrings|JoinStringMulti|CR Text Concatenate|"
    r"easy promptConcat|ttN concat|ConcatStringSingle|StringConcat|Concat Text.*"
)
_PART = re.compile(r"(text|string|prompt)_?(\d+|[a-z])")
_DELIMITERS = ("delimiter", "separator")
# Joining nodes leave empty parts out, other than the core's.
_KEEPS_EMPTY = ("StringConcatenate", "JoinStrings", "ConcatStringSingle")
# Delimiters of nodes whose input may be absent.
_DEFAULTS = {"Text Concatenate": ", "}
# Inputs of nodes with strings that do not change the string.
_INERT = re.compile(
    r"text_?\d+|insert_\w+|output|mode|passthrough|speak_and_recognation|strip_newlines|title"
)
# Slots of nodes that hold several strings.
_SLOTS = {"Text String": ("text", "text_b", "text_c", "text_d")}


@dataclass
class Strings:
    """The strings of a graph; each is found once, since joins may use a string many times."""

    graph: Graph
    _known: dict[Link, str] = field(default_factory=dict)

    def text_of(self, value: Any, depth: int = 0) -> str:
        """Return a string, or the string that a link leads to; raises PromptError if computed."""
        text = value if isinstance(value, str) else self._text_of(as_link(value), depth)
        self.graph.read(len(text))
        return text

    def _text_of(self, link: Link | None, depth: int) -> str:
        if link is None:
            raise untold("a text is neither a string nor a link")
        if depth > MAX_DEPTH:
            raise untold("the links of a text form a loop")
        if link not in self._known:
            self._known[link] = self._text_at(link, depth)
        return self._known[link]

    def _text_at(self, link: Link, depth: int) -> str:
        node = self.graph.at(link)
        if POPULATED in node.inputs:
            return self.text_of(populated(node), depth + 1)
        if not _JOINS.fullmatch(node.kind):
            return self.text_of(_handed_on(node, link), depth + 1)
        names = sorted((n for n in node.inputs if _PART.fullmatch(n)), key=_in_order)
        parts = [self.text_of(node.inputs[name], depth + 1) for name in names]
        given = next((node.inputs[n] for n in _DELIMITERS if n in node.inputs), None)
        delimiter = (
            _DEFAULTS.get(node.kind, "") if given is None else self.text_of(given, depth + 1)
        )
        return _joined(node, parts, delimiter.replace("\\n", "\n"))


def _handed_on(node: Node, link: Link) -> Any:
    """Return the value that a node outputs unchanged; raises PromptError for other nodes."""
    if node.kind in _SLOTS and link.slot < len(_SLOTS[node.kind]):
        return node.inputs.get(_SLOTS[node.kind][link.slot])
    if "reroute" in node.kind.lower() and len(node.inputs) == 1:
        return next(iter(node.inputs.values()))
    values = [n for n, v in node.inputs.items() if isinstance(v, str) or as_link(v)]
    if len(values) > 1:
        values = [name for name in values if not _INERT.fullmatch(name.lower())]
    others = [n for n in node.inputs if n not in values and not _INERT.fullmatch(n.lower())]
    # A node with more inputs may change the text.
    if len(values) != 1 or values[0].lower() not in _VALUE or others:
        raise unknown(node, "computes the text at run time")
    return node.inputs[values[0]]


def _joined(node: Node, parts: list[str], delimiter: str) -> str:
    if node.kind not in _KEEPS_EMPTY:
        parts = [part.strip() for part in parts if part.strip()]
    # A graph may join a text with itself, again and again.
    if sum(map(len, parts)) + len(delimiter) * len(parts) > MAX_TEXT_CHARS:
        raise untold(f"a text is too long (more than {MAX_TEXT_CHARS} characters)")
    return delimiter.join(parts)


def _in_order(name: str) -> tuple[int, str]:
    """Return a sort key: text2 comes before text10."""
    return len(name), name
