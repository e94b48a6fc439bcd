"""The walk through a ComfyUI graph: from the node that saved a file back to the texts it used."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from librehps.media.lazy import Lazy
from librehps.media.metadata.comfyui import nodes
from librehps.media.metadata.comfyui.graph import (
    Graph,
    Link,
    Node,
    as_link,
    unknown,
    untold,
)
from librehps.media.metadata.comfyui.savers import (
    is_saver,
    makes_and_saves,
    saved_links,
    savers_of,
)
from librehps.media.metadata.comfyui.strings import Strings
from librehps.media.metadata.texts import Origin

# What a link carries: a picture; a reference, which may be a picture from an unknown source; a
# pipe, for its pictures; or prompts, of which the name of an output tells the positive one.
Role = Literal["picture", "reference", "pipe", "prompt", "positive", "negative"]


class Step(NamedTuple):
    """A link to follow, and what the link carries."""

    link: Link
    role: Role


def prompt_in(graph: Graph, origin: Origin) -> str:
    """Return the one text that the saved picture depends on; raises PromptError."""
    texts: set[str] = set()
    savers = savers_of(graph, origin)
    walk = Walk(graph)
    for saver in savers:
        found = walk.texts_of(saver)
        if not found and is_saver(saver):
            raise unknown(saver, "saved a picture that no node made from a text")
        texts |= found
    if not texts:
        raise untold("no node that makes a picture from a text")
    if len(texts) > 1:
        shown = ", ".join(sorted(repr(text[:40]) for text in texts)[:3])
        raise untold(f"more than one text; expected one, got {len(texts)} ({shown})")
    return texts.pop()


@dataclass
class Walk:
    """A walk from one saver at a time; each link is followed once in each role."""

    graph: Graph
    texts: set[str] = field(default_factory=set)
    _left: list[Step] = field(default_factory=list)
    _strings: Strings = field(init=False)
    _seen: set[Step] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._strings = Strings(self.graph)

    @Lazy
    def _negative_links(self) -> frozenset[Link]:
        """The links of all inputs that take a negative prompt."""
        links = (found for node in self.graph.nodes.values() for found in node.links())
        return frozenset(link for name, link in links if nodes.is_named(nodes.NEGATIVE, name))

    def texts_of(self, saver: Node) -> set[str]:
        """Return the distinct texts of the picture that a node saves; an empty one only if alone.

        The node may also make the picture.
        """
        self.texts, self._seen, self._left = set(), set(), []
        if is_saver(saver) and not makes_and_saves(saver):
            self._follow(saved_links(saver), "picture")
        else:
            self._on_maker(saver, "reference")
        while self._left:
            step = self._left.pop()
            if step in self._seen:
                continue
            self._seen.add(step)
            node = self.graph.at(step.link)
            if step.role in ("prompt", "positive", "negative"):
                self._on_prompt(node, step)
            else:
                self._on_picture(node, step)
        return self.texts - {""} or self.texts

    def _on_picture(self, node: Node, step: Step) -> None:
        """Go on from a node that outputs a picture, or a pipe with one."""
        name = nodes.output_name(node, step.link.slot)
        if nodes.BUSES.fullmatch(node.kind) and name not in (None, "pipe"):
            # A context outputs one input in this slot, else that of its own context.
            own = [link for key, link in node.links() if key.rstrip("s") == name]
            slot = step.link.slot
            self._follow(own or [Link(p.node, slot) for p in nodes.pipe_links(node)], step.role)
        elif is_saver(node) and not makes_and_saves(node):
            # Texts of a saver are for its metadata.
            self._follow(saved_links(node), step.role)
        elif step.role == "pipe" and not nodes.is_maker(node):
            self._follow(nodes.pipe_links(node), "pipe")
            self._follow_pictures(node, "picture")
        else:
            self._on_maker(node, "picture" if step.role == "pipe" else step.role)

    def _on_maker(self, node: Node, role: Role) -> None:
        """Go on from a node that makes or changes a picture."""
        prompts = [link for _, link in nodes.positive_links(node)]
        pipes = nodes.pipe_links(node)
        if prompts:
            self._follow(prompts, "prompt")
        elif texts := list(nodes.own_texts(node)):
            self._add_texts(node, texts)
        elif pipes:
            self._follow(pipes, "prompt")
        elif nodes.is_maker(node) or (role == "picture" and nodes.is_unknown_end(node)):
            raise unknown(node)
        self._follow(pipes, "pipe")
        self._follow_pictures(node, role)

    def _on_prompt(self, node: Node, step: Step) -> None:
        """Go on from a node that outputs prompts."""
        name = nodes.output_name(node, step.link.slot)
        role: Role = step.role
        if role == "prompt":
            role = "negative" if name == "negative" else "positive"
        value = nodes.pair_value(node, role == "negative")
        if node.kind in nodes.ZEROED:
            self.texts.add("")
        elif value is not None:
            if node.inputs.get("conditioning_mode", "replace") != "replace":
                raise unknown(node, "changes the prompt of its pipe")
            if name is None and step.role == "prompt":
                self._check_slot(node, step.link)
            self._follow_value(node, value)
        elif pipes := nodes.pipe_links(node):
            self._follow(pipes, role)
        else:
            self._on_encoder(node, step.link)
        # A prompt may refer to a picture: a control image, a first frame.
        pictures = [
            link for n, link in nodes.picture_links(node) if nodes.is_named(nodes.PICTURE, n)
        ]
        self._follow([link for link in pictures if link.node in self.graph.nodes], "reference")

    def _check_slot(self, node: Node, link: Link) -> None:
        """Raise PromptError unless the positive prompt is in this output of an unknown class.

        Nodes have it in slot 0, or where the graph takes the negative one from the next slot.
        """
        following = Link(link.node, link.slot + 1)
        if not link.slot or not any(name in node.inputs for name in nodes.NEGATIVES):
            return
        if following not in self._negative_links:
            raise unknown(node, f"hands on both prompts; output {link.slot} may be either")

    def _follow_value(self, node: Node, value: Any) -> None:
        link = as_link(value)
        # A loader takes a prompt as a string, or as a link to one.
        if link is None or nodes.outputs_text(self.graph.at(link)):
            self._add_texts(node, [value])
        else:
            self._follow([link], "prompt")

    def _on_encoder(self, node: Node, link: Link) -> None:
        """Collect the texts that a node encodes, and go on to the prompts that it changes."""
        upstream = [found for _, found in nodes.positive_links(node)]
        texts = list(nodes.encoded_texts(node))
        upstream = upstream or nodes.passed_links(node)
        if not texts and not upstream:
            if not nodes.outputs_text(node):
                raise unknown(node)
            texts = [list(link)]
        if texts:
            self._add_texts(node, texts)
        self._follow(upstream, "prompt")

    def _add_texts(self, node: Node, values: list[Any]) -> None:
        texts = {self._strings.text_of(value).strip() for value in values}
        for text in texts:
            _check_filled(node, text)
        # An encoder with several texts, such as SDXL's, has one or all equal.
        self.texts |= texts - {""} or {""}

    def _follow_pictures(self, node: Node, role: Role) -> None:
        """Follow links that carry a picture, and as references those that may carry anything."""
        for name, link in nodes.picture_links(node):
            self._follow([link], role if nodes.is_named(nodes.PICTURE, name) else "reference")

    def _follow(self, links: list[Link], role: Role) -> None:
        self._left += [Step(link, role) for link in links]


def _check_filled(node: Node, text: str) -> None:
    """Raise PromptError for a template, by the marks that the node's own inputs name."""
    key = node.inputs.get("noodle_key")
    is_template = isinstance(key, str) and key and key in text
    is_schedule = "schedule" in node.kind.lower() and ":" in text
    # WanVideoWrapper splits a text into one prompt a window of frames.
    is_split = node.kind.startswith("WanVideoTextEncode") and "|" in text
    if is_template or is_schedule or is_split:
        raise unknown(node, "fills a template or a schedule at run time")
