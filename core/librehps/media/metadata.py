"""The prompt in an image's metadata, as written by its generator."""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

from librehps.errors import EmptyPromptError, PromptError
from librehps.media.images import DAMAGE_ERRORS, FORMATS

# JSON takes about twenty times as much memory when parsed.
MAX_TEXT_CHARS = 1 << 22
# Lines that end the prompt in AUTOMATIC1111's text; the first may also begin the text.
_NEGATIVE = re.compile(r"^Negative prompt:", re.MULTILINE)
_STEPS = re.compile(r"^Steps: \d", re.MULTILINE)
_EXIF_IFD, _USER_COMMENT, _MODEL = 0x8769, 0x9286, 0x0110
# Inputs of ComfyUI nodes: texts of a text encoder, and links to another conditioning.
_ENCODED = ("text", "text_g", "text_l", "prompt", "user_prompt", "positive_prompt",
            "clip_l", "clip_g", "t5xxl", "bert", "mt5xl")  # fmt: skip
_UPSTREAM = re.compile(r"conditioning\w*|cond\d|guider")
# Name of the only input of a node that holds or forwards a string.
_STRING = ("text", "string", "value", "prompt")

Inputs = Mapping[str, Any]


class Link(NamedTuple):
    """A reference to an output of another node of a ComfyUI graph."""

    node: str
    slot: int


def prompt_of(data: bytes) -> str | None:
    """Return the prompt in the metadata of an encoded image; None if there is no such metadata.

    Supports AUTOMATIC1111, Forge, ComfyUI and InvokeAI. Text after a PNG's pixels is not read, and
    data that is not an image gives None. Raises PromptError if the metadata do not contain exactly
    one prompt.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            info = dict(image.info)
    except (*DAMAGE_ERRORS, Image.DecompressionBombError):
        return None
    for key, read in _CHUNKS.items():
        if isinstance(text := info.get(key), str):
            return _checked(read(_mended(text)))
    exif = info.get("exif")
    return _from_exif(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else None


def _checked(prompt: str) -> str:
    prompt = prompt.strip(" \t\r\n\0")
    if not prompt:
        raise EmptyPromptError("the prompt in the image's metadata is empty")
    if any("\ud800" <= character <= "\udfff" or character == "\ufffd" for character in prompt):
        raise PromptError("the prompt in the image's metadata is not valid Unicode")
    return prompt


def _mended(text: str) -> str:
    """Return a PNG's Latin-1 text decoded as UTF-8 if it is valid UTF-8, else unchanged."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _from_parameters(text: str) -> str:
    """Return the prompt of AUTOMATIC1111's text: the lines above negative prompt or settings."""
    text = text.replace("\r\n", "\n")
    end = _NEGATIVE.search(text)
    if end is None:
        # The last match, because the prompt itself may contain such a line.
        for end in _STEPS.finditer(text):  # noqa: B007 - the last match is used
            pass
    if end is None:
        raise PromptError(
            "the image's `parameters` are not in AUTOMATIC1111's format: expected a line "
            "'Negative prompt:' or 'Steps:' after the prompt"
        )
    return text[: end.start()]


def _from_invoke(text: str) -> str:
    prompt = _parsed(text, "invokeai_metadata").get("positive_prompt")
    if not isinstance(prompt, str):
        raise PromptError("the image's `invokeai_metadata` has no `positive_prompt`")
    return prompt


def _from_graph(text: str) -> str:
    """Return the only text that conditions the samplers of a ComfyUI graph; raises PromptError."""
    graph = _parsed(text, "prompt")
    nodes = {name: _inputs(node) for name, node in graph.items()}
    starts = [
        link
        for inputs in nodes.values()
        for link in (_link(inputs.get("positive")), _link(inputs.get("guider")))
        if link is not None
    ]
    if not starts:
        raise _unreadable("no sampler")
    prompts = _conditions(nodes, starts)
    if len(prompts) > 1:
        raise _unreadable(f"expected one prompt, got {len(prompts)}")
    if not prompts:
        raise _unreadable("the links form a loop")
    return prompts.pop()


def _conditions(nodes: Mapping[str, Inputs], starts: list[Link]) -> set[str]:
    """Return the distinct texts that the links lead to; each link is followed once."""
    found: set[str] = set()
    seen: set[Link] = set()
    while starts:
        link = starts.pop()
        if link in seen:
            continue
        seen.add(link)
        inputs = nodes.get(link.node, {})
        upstream = list(_upstream(inputs, link.slot))
        texts = {_string(nodes, value) for value in _texts(inputs)}
        if not upstream and not texts:
            raise _unreadable(f"node {link.node[:20]!r} has no text")
        if texts:
            # An encoder with two texts, such as SDXL's, has one empty or both equal.
            found |= texts - {""} or {""}
        starts += upstream
    return found


def _texts(inputs: Inputs) -> Iterator[Any]:
    """Yield the inputs that a node encodes as text: strings, or links to strings."""
    for name, value in inputs.items():
        is_text = isinstance(value, str)
        # A loader that takes both prompts as strings also has an input `positive`.
        if (name in _ENCODED and (is_text or _link(value))) or (name == "positive" and is_text):
            yield value


def _upstream(inputs: Inputs, slot: int) -> Iterator[Link]:
    """Yield the links that output `slot` of a node depends on."""
    for name, value in inputs.items():
        link = _link(value)
        if link is None:
            continue
        if name == "positive":
            # A node that forwards both prompts has the positive prompt in slot 0.
            if slot:
                raise _unreadable(f"output {slot} of a node that has a positive input")
            yield link
        elif _UPSTREAM.fullmatch(name):
            yield link


def _string(nodes: Mapping[str, Inputs], value: Any) -> str:
    """Return a string, or the string at the end of a chain of nodes that only forward it."""
    seen: set[Link] = set()
    while not isinstance(value, str):
        link = _link(value)
        inputs = nodes.get(link.node, {}) if link else {}
        # A node with more inputs may change the text.
        if link is None or link in seen or len(inputs) != 1:
            raise _unreadable("a node computes the text")
        seen.add(link)
        [(name, value)] = inputs.items()
        if name.lower() not in _STRING:
            raise _unreadable("a node computes the text")
    return value.strip()


def _inputs(node: Any) -> Inputs:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _link(value: Any) -> Link | None:
    if isinstance(value, list) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int):
            return Link(node, slot)
    return None


def _unreadable(reason: str) -> PromptError:
    return PromptError(f"cannot read the prompt in the image's ComfyUI graph: {reason}")


def _parsed(text: str, chunk: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT_CHARS:
        raise PromptError(
            f"the image's `{chunk}` is too long ({len(text)} characters; at most {MAX_TEXT_CHARS})"
        )
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"the image's `{chunk}` is invalid JSON: {error}") from error
    if not isinstance(record, dict):
        raise PromptError(f"the image's `{chunk}` is not a JSON object")
    return record


_CHUNKS: dict[str, Callable[[str], str]] = {
    "parameters": _from_parameters,
    "invokeai_metadata": _from_invoke,
    "prompt": _from_graph,
}


def _from_exif(exif: bytes) -> str | None:
    """Return the prompt of AUTOMATIC1111's user comment or of ComfyUI's graph in a WebP's EXIF."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        [first] = struct.unpack_from(f"{order}I", exif, 4)
        main = _entries(exif, order, first)
        pointer = main.get(_EXIF_IFD, (0, b""))[1]
        inner = _entries(exif, order, *struct.unpack(f"{order}I", pointer)) if pointer else {}
    except (KeyError, struct.error):
        # Damaged EXIF counts as no metadata, as for the orientation.
        return None
    for text in _comments(_value(exif, order, inner.get(_USER_COMMENT))):
        if _NEGATIVE.search(text) or _STEPS.search(text):
            return _checked(_from_parameters(text))
    model = _value(exif, order, main.get(_MODEL)).decode(errors="replace")
    if model.startswith("prompt:"):
        return _checked(_from_graph(model.removeprefix("prompt:").rstrip("\0")))
    return None


def _entries(exif: bytes, order: str, at: int) -> dict[int, tuple[int, bytes]]:
    """Return tag -> (count, four bytes of value or offset) of one TIFF 6.0 directory."""
    [count] = struct.unpack_from(f"{order}H", exif, at)
    found: dict[int, tuple[int, bytes]] = {}
    for index in range(count):
        tag, _, length, value = struct.unpack_from(f"{order}HHI4s", exif, at + 2 + 12 * index)
        if tag in (_EXIF_IFD, _USER_COMMENT, _MODEL):
            found[tag] = (length, value)
    return found


def _value(exif: bytes, order: str, entry: tuple[int, bytes] | None) -> bytes:
    """Return the bytes of one entry with a one-byte type; Pillow would read all entries."""
    length, value = entry or (0, b"")
    if length <= 4:
        return value[:length]
    [at] = struct.unpack(f"{order}I", value)
    return exif[at : at + length]


def _comments(comment: bytes) -> Iterator[str]:
    """Yield the possible texts of a user comment: EXIF names the charset, not the byte order."""
    charset, body = comment[:8], comment[8:]
    encodings = ("utf-16-be", "utf-16-le") if charset == b"UNICODE\0" else ("utf-8",)
    for encoding in encodings:
        yield body.decode(encoding, errors="replace").removeprefix("\ufeff")
