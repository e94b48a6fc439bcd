"""The prompt that a picture's generator wrote into its file."""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

from librehps.errors import EmptyPromptError, PromptError
from librehps.media.images import DAMAGE, FORMATS

# Characters of one text; JSON takes some twenty times as much memory when parsed.
MAX_TEXT = 1 << 22
# The lines that follow the prompt in AUTOMATIC1111's text; the first may begin the text.
_NEGATIVE = re.compile(r"^Negative prompt:", re.MULTILINE)
_STEPS = re.compile(r"^Steps: \d", re.MULTILINE)
_EXIF_IFD, _USER_COMMENT, _MODEL = 0x8769, 0x9286, 0x0110
# Inputs of ComfyUI's nodes: what a text encoder reads, and where a conditioning comes from.
_ENCODED = ("text", "text_g", "text_l", "prompt", "user_prompt", "positive_prompt",
            "clip_l", "clip_g", "t5xxl", "bert", "mt5xl")  # fmt: skip
_UPSTREAM = re.compile(r"conditioning\w*|cond\d|guider")
# The one input of a node that only holds or hands on a string.
_STRING = ("text", "string", "value", "prompt")

Inputs = Mapping[str, Any]


class Link(NamedTuple):
    """An output of another node of the graph."""

    node: str
    slot: int


def prompt_of(data: bytes) -> str | None:
    """The prompt in the metadata of an encoded picture; None where there is no such metadata.

    Known are AUTOMATIC1111 and Forge, ComfyUI and InvokeAI. Text after a PNG's pixels is not
    seen, and of what is no picture nothing is said: whoever opens it will. Raises PromptError
    where there is metadata, but not one prompt that can be told from it.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            info = dict(image.info)
    except (*DAMAGE, Image.DecompressionBombError):
        return None
    for key, read in _CHUNKS.items():
        if isinstance(text := info.get(key), str):
            return _checked(read(_mended(text)))
    exif = info.get("exif")
    return _from_exif(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else None


def _checked(prompt: str) -> str:
    prompt = prompt.strip(" \t\r\n\0")
    if not prompt:
        raise EmptyPromptError("the prompt in the picture's metadata is empty")
    if any("\ud800" <= character <= "\udfff" or character == "\ufffd" for character in prompt):
        raise PromptError("the prompt in the picture's metadata is not valid Unicode")
    return prompt


def _mended(text: str) -> str:
    """Text that was written as UTF-8 where PNG wants Latin-1, and read as that."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _from_parameters(text: str) -> str:
    """AUTOMATIC1111's text: the prompt, the negative prompt, the settings, each from a new line."""
    text = text.replace("\r\n", "\n")
    end = _NEGATIVE.search(text)
    if end is None:
        # The last such line, since a prompt may have one of its own.
        for end in _STEPS.finditer(text):  # noqa: B007 - the last is what it is for
            pass
    if end is None:
        raise PromptError(
            "the picture's `parameters` are not AUTOMATIC1111's: there is neither a line "
            "'Negative prompt:' nor a line 'Steps:' to end the prompt"
        )
    return text[: end.start()]


def _from_invoke(text: str) -> str:
    prompt = _parsed(text, "invokeai_metadata").get("positive_prompt")
    if not isinstance(prompt, str):
        raise PromptError("the picture's `invokeai_metadata` has no `positive_prompt`")
    return prompt


def _from_graph(text: str) -> str:
    """The one text that conditions every sampler of a ComfyUI graph."""
    graph = _parsed(text, "prompt")
    nodes = {name: _inputs(node) for name, node in graph.items()}
    starts = [
        link
        for inputs in nodes.values()
        for link in (_link(inputs.get("positive")), _link(inputs.get("guider")))
        if link is not None
    ]
    if not starts:
        raise PromptError("cannot tell the prompt: the picture's ComfyUI graph has no sampler")
    prompts = _conditions(nodes, starts)
    if len(prompts) > 1:
        raise PromptError(
            f"cannot tell the prompt: the picture's ComfyUI graph has {len(prompts)} of them"
        )
    if not prompts:
        raise _lost("a loop")
    return prompts.pop()


def _conditions(nodes: Mapping[str, Inputs], starts: list[Link]) -> set[str]:
    """The different texts behind these links, each link followed once."""
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
            raise _lost(f"node {link.node[:20]!r}")
        if texts:
            # An encoder of two texts, as SDXL's, leaves one empty or repeats it.
            found |= texts - {""} or {""}
        starts += upstream
    return found


def _texts(inputs: Inputs) -> Iterator[Any]:
    """What of a node's inputs it encodes: a string each, or a link to one."""
    for name, value in inputs.items():
        is_text = isinstance(value, str)
        # A loader that takes both prompts as strings has an input `positive` too.
        if (name in _ENCODED and (is_text or _link(value))) or (name == "positive" and is_text):
            yield value


def _upstream(inputs: Inputs, slot: int) -> Iterator[Link]:
    """The links of a node that its output in this slot depends on."""
    for name, value in inputs.items():
        link = _link(value)
        if link is None:
            continue
        if name == "positive":
            # A node that hands on both prompts gives the positive one first.
            if slot:
                raise _lost(f"output {slot} of a node that has a positive input")
            yield link
        elif _UPSTREAM.fullmatch(name):
            yield link


def _string(nodes: Mapping[str, Inputs], value: Any) -> str:
    """A string, or the one that a chain of nodes with nothing but a string in them leads to."""
    seen: set[Link] = set()
    while not isinstance(value, str):
        link = _link(value)
        inputs = nodes.get(link.node, {}) if link else {}
        # Anything with more inputs may change the text, choose it or invent it.
        if link is None or link in seen or len(inputs) != 1:
            raise _lost("a node that computes the text")
        seen.add(link)
        [(name, value)] = inputs.items()
        if name.lower() not in _STRING:
            raise _lost("a node that computes the text")
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


def _lost(where: str) -> PromptError:
    return PromptError(f"cannot tell the prompt: in the picture's ComfyUI graph {where} hides it")


def _parsed(text: str, chunk: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise PromptError(f"the picture's `{chunk}` is too long: {len(text)} characters")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"the picture's `{chunk}` is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise PromptError(f"the picture's `{chunk}` is not a JSON object")
    return record


_CHUNKS: dict[str, Callable[[str], str]] = {
    "parameters": _from_parameters,
    "invokeai_metadata": _from_invoke,
    "prompt": _from_graph,
}


def _from_exif(exif: bytes) -> str | None:
    """AUTOMATIC1111's text in the user comment, or ComfyUI's graph where WebP has it."""
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        [first] = struct.unpack_from(f"{order}I", exif, 4)
        main = _entries(exif, order, first)
        pointer = main.get(_EXIF_IFD, (0, b""))[1]
        inner = _entries(exif, order, *struct.unpack(f"{order}I", pointer)) if pointer else {}
    except (KeyError, struct.error):
        # Damaged EXIF says nothing, as where it tells of orientation.
        return None
    for text in _comments(_value(exif, order, inner.get(_USER_COMMENT))):
        if _NEGATIVE.search(text) or _STEPS.search(text):
            return _checked(_from_parameters(text))
    model = _value(exif, order, main.get(_MODEL)).decode(errors="replace")
    if model.startswith("prompt:"):
        return _checked(_from_graph(model.removeprefix("prompt:").rstrip("\0")))
    return None


def _entries(exif: bytes, order: str, at: int) -> dict[int, tuple[int, bytes]]:
    """tag -> (count, the four bytes of value or offset) of one directory of TIFF 6.0."""
    [count] = struct.unpack_from(f"{order}H", exif, at)
    found: dict[int, tuple[int, bytes]] = {}
    for index in range(count):
        tag, _, length, value = struct.unpack_from(f"{order}HHI4s", exif, at + 2 + 12 * index)
        if tag in (_EXIF_IFD, _USER_COMMENT, _MODEL):
            found[tag] = (length, value)
    return found


def _value(exif: bytes, order: str, entry: tuple[int, bytes] | None) -> bytes:
    """The bytes of an entry of a type of one byte; Pillow would read those of all entries."""
    length, value = entry or (0, b"")
    if length <= 4:
        return value[:length]
    [at] = struct.unpack(f"{order}I", value)
    return exif[at : at + length]


def _comments(comment: bytes) -> Iterator[str]:
    """What a user comment may say: EXIF names its charset, but not the order of its bytes."""
    charset, body = comment[:8], comment[8:]
    encodings = ("utf-16-be", "utf-16-le") if charset == b"UNICODE\0" else ("utf-8",)
    for encoding in encodings:
        yield body.decode(encoding, errors="replace").removeprefix("\ufeff")
