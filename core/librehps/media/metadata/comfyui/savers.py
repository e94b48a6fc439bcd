"""Nodes of a ComfyUI graph that may have saved a file."""

import re
from pathlib import PurePosixPath

from librehps.media.metadata.comfyui.graph import Graph, Link, Node
from librehps.media.metadata.comfyui.nodes import pipe_links, positive_links
from librehps.media.metadata.texts import Origin

_SAVERS = re.compile(r"save|VideoCombine|video.?output|image.?output|websocket|send.?image", re.I)
_NOT_SAVERS = re.compile(r"latent", re.I)
# Inputs of a saver that hold the picture; others are texts for its metadata.
_PICTURES = re.compile(
    r"(\w+_)?(image|video|frame|picture|sample|img|gif|media|tensor)s?(_\w+|\d+)?"
)
# Formats that a saver writes, where its class tells.
_FORMATS = {
    "SaveImage": ("png",),
    "SaveAnimatedPNG": ("png",),
    "SaveAnimatedWEBP": ("webp",),
    "SaveVideo": ("video",),
    "SaveWEBM": ("video",),
    # Also writes x.png, the first frame, next to x.mp4.
    "VHS_VideoCombine": ("video", "png", "gif", "webp"),
}


def savers_of(graph: Graph, origin: Origin) -> list[Node]:
    """Return the nodes that may have saved the file.

    Where no node saves, as with previews, these are the nodes whose outputs no other node uses.
    """
    savers = [node for node in graph.nodes.values() if is_saver(node)]
    if not savers:
        return _ends(graph)
    for fits in (_fits_format, _fits_name):
        savers = [node for node in savers if fits(node, origin)] or savers
    return savers


def _ends(graph: Graph) -> list[Node]:
    """Return the nodes whose outputs no node uses: those with a picture, else with a prompt."""
    used = {link.node for node in graph.nodes.values() for _, link in node.links()}
    ends = [node for name, node in graph.nodes.items() if name not in used]
    pictures = [node for node in ends if saved_links(node)]
    return pictures or [node for node in ends if positive_links(node) or pipe_links(node)]


def is_saver(node: Node) -> bool:
    """Return whether a node writes a file with a picture or a clip."""
    if makes_and_saves(node):
        return "save" in str(node.inputs["image_output"]).lower()
    if node.inputs.get("save_output") is False:
        return False
    is_named = _SAVERS.search(node.kind) and not _NOT_SAVERS.search(node.kind)
    return bool(is_named and saved_links(node))


def makes_and_saves(node: Node) -> bool:
    """Return whether a node is a sampler of easy-use or tinyterra nodes, which may also save."""
    return "image_output" in node.inputs


def saved_links(node: Node) -> list[Link]:
    """Return the links to the picture that a saver writes."""
    return [link for name, link in node.links() if _PICTURES.fullmatch(name)]


def _fits_format(node: Node, origin: Origin) -> bool:
    formats = _FORMATS.get(node.kind)
    return formats is None or not origin.format or origin.format in formats


def _fits_name(node: Node, origin: Origin) -> bool:
    """Return whether the file's name begins as this saver names its files: prefix_00001_."""
    prefix = node.inputs.get("filename_prefix", node.inputs.get("save_prefix"))
    if not isinstance(prefix, str) or not prefix:
        return False
    base = PurePosixPath(prefix.replace("\\", "/")).name
    number = origin.stem.removeprefix(f"{base}_")
    return number != origin.stem and re.match(r"\d{3,}", number) is not None
