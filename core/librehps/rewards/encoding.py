"""Encode items as bodies of requests to the reward server, binary or JSON, with few copies."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from librehps.errors import EmptyPromptError, ItemError, PromptError, UnsupportedMediaError
from librehps.types import Item, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from librehps.media.media import Media

Row = Mapping[str, Any]
BINARY_TYPE, JSON_TYPE = "application/x-safetensors", "application/json"
# Of a character beyond 16 bits: two escapes, whose backslashes are escaped by the outer JSON.
MAX_CHARACTER_BYTES = 14
# Bytes that an item takes in a body in addition to its prompt and media, at most.
ITEM_OVERHEAD_BYTES = 256
# A header's length is a multiple of this, so that readers may map what follows.
ALIGN_BYTES = 8
# A socket gets at most this much at once.
BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Entry:
    """An item to send: its index in the batch, its prompt, and a file's bytes or RGB pictures.

    `pictures` are (H, W, 3) uint8 arrays of equal size. `as_text`: whether a file goes as base64
    in a binary body too, since its bytes alone would be read as another kind.
    """

    at: int
    prompt: str
    kind: Kind
    content: bytes = b""
    pictures: tuple["NDArray[Any]", ...] = ()
    as_text: bool = False

    @property
    def has_frames(self) -> bool:
        """True for a clip in memory."""
        return bool(self.pictures) and self.kind == "video"

    @property
    def shape(self) -> list[int]:
        """The shape of the tensor that carries the media."""
        if not self.pictures:
            return [len(self.content)]
        shape = list(self.pictures[0].shape)
        return [len(self.pictures), *shape] if self.kind == "video" else shape

    @property
    def size(self) -> int:
        """The number of bytes in a binary body, at most."""
        media = sum(one.nbytes for one in self.pictures) or len(self.content)
        media = media * 4 // 3 + 4 if self.as_text else media
        return media + MAX_CHARACTER_BYTES * len(self.prompt) + ITEM_OVERHEAD_BYTES


@dataclass(frozen=True)
class Body:
    """The body of a request: its media type, and its bytes in pieces that are not copied."""

    type: str
    pieces: Sequence[memoryview]

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(piece.nbytes for piece in self.pieces)

    def blocks(self) -> Iterator[memoryview]:
        """Yield the bytes in blocks, since sockets copy what they cannot send at once."""
        for piece in self.pieces:
            for start in range(0, piece.nbytes, BLOCK_BYTES):
                yield piece[start : start + BLOCK_BYTES]


@dataclass
class Encoder:
    """An encoder of a batch, group by group, so that few pictures are in memory at a time.

    `failed` has the error rows of items that cannot be sent, by index.
    """

    items: Sequence[Item]
    limit: int
    failed: dict[int, Row] = field(default_factory=dict)
    _at: int = 0
    _held: Entry | None = None

    def next_group(self) -> list[Entry]:
        """Return the next items that fit in one body; a larger item is a group of its own.

        The list is empty after the last item.
        """
        group: list[Entry] = []
        size = 0
        while (entry := self._next()) is not None:
            size += entry.size
            if group and size > self.limit:
                self._held = entry
                break
            group.append(entry)
        return group

    def _next(self) -> Entry | None:
        held, self._held = self._held, None
        while held is None and self._at < len(self.items):
            at, self._at = self._at, self._at + 1
            try:
                held = entry_of(at, self.items[at])
            except ItemError as error:
                self.failed[at] = error_row(error)
        return held


def error_row(error: ItemError) -> dict[str, Any]:
    """Return the row of an item that cannot be sent."""
    return {"status": "error", "error_type": type(error).__name__, "error": str(error)}


def entry_of(at: int, item: Item) -> Entry:
    """Return an item with its media in the form of a request; raises ItemError."""
    from librehps.media.media import READ_ERRORS, Media, unreadable
    from librehps.rewards.pictures import readable

    item = readable(item)
    if item.problem is not None:
        raise item.problem
    prompt = _checked_prompt(item.prompt)
    content = Media(item.media)
    try:
        kind = item.kind or content.kind()
        if content.is_encoded:
            as_text = kind != _kind_of_bytes(content)
            return Entry(at, prompt, kind, content=content.data, as_text=as_text)
        frames = item.media if kind == "video" else [item.media]
        return Entry(at, prompt, kind, pictures=_pictures(frames))
    except READ_ERRORS as error:
        raise unreadable(content.name, error) from error


def binary_body(entries: Sequence[Entry]) -> Body:
    """Return a safetensors file: the request's JSON in the metadata, each item's media a tensor."""
    tensors: dict[str, Any] = {}
    pieces: list[memoryview] = []
    items, end = [], 0
    for entry in entries:
        name = str(entry.at)
        one = {"id": name, "prompt": entry.prompt}
        if entry.as_text:
            items.append({**one, **_text_field(entry)})
            continue
        items.append({**one, "tensor": name})
        found = [picture.data.cast("B") for picture in entry.pictures]
        found = found or [memoryview(entry.content)]
        start, end = end, end + sum(piece.nbytes for piece in found)
        tensors[name] = {"dtype": "U8", "shape": entry.shape, "data_offsets": [start, end]}
        pieces += found
    request = json.dumps({"items": items}, separators=(",", ":"))
    header = json.dumps({"__metadata__": {"request": request}, **tensors}).encode()
    header += b" " * (-len(header) % ALIGN_BYTES)
    return Body(BINARY_TYPE, [memoryview(len(header).to_bytes(8, "little") + header), *pieces])


def json_body(entries: Sequence[Entry]) -> Body:
    """Return the same request for a server that reads JSON only: files and PNGs in base64."""
    items = [
        {"id": str(entry.at), "prompt": entry.prompt, **_text_field(entry)} for entry in entries
    ]
    return Body(JSON_TYPE, [memoryview(json.dumps({"items": items}).encode())])


def _text_field(entry: Entry) -> dict[str, Any]:
    """Return the JSON field of an item's media."""
    if entry.has_frames:
        return {"frames_b64": [_base64(_png(picture)) for picture in entry.pictures]}
    content = _png(entry.pictures[0]) if entry.pictures else entry.content
    return {f"{entry.kind}_b64": _base64(content)}


def _checked_prompt(prompt: Any) -> str:
    """Return the prompt; raises PromptError for a prompt that would fail the whole request."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise EmptyPromptError("empty prompt, or not a string")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"invalid Unicode in the prompt: {error.reason}") from error
    return prompt


def _kind_of_bytes(content: "Media") -> Kind:
    """Return the kind that a server finds, which has the bytes without the file's name."""
    from librehps.media.media import Media

    return Media(content.data).kind()


def _pictures(frames: Any) -> tuple["NDArray[Any]", ...]:
    """Return images as (H, W, 3) arrays of one size; raises MediaError."""
    from librehps.media.images import load_rgb_array

    if not isinstance(frames, list | tuple) or not frames:
        raise UnsupportedMediaError("expected a video as path or non-empty list of frames")
    pictures = tuple(map(load_rgb_array, frames))
    if len(found := {picture.shape[:2] for picture in pictures}) > 1:
        sizes = ", ".join(f"{width} x {height}" for height, width in sorted(found))
        raise UnsupportedMediaError(f"the frames of a video differ in size: {sizes}")
    return pictures


def _png(pixels: "NDArray[Any]") -> bytes:
    """Return pixels as PNG, lossless, compressed lightly for speed."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
