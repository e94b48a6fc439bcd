"""First stage: an item's media and prompt become what the model reads, or a named error."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from librehps.errors import UnsupportedMediaError
from librehps.media.content import Content
from librehps.media.image import load_pixels
from librehps.media.prompt import PromptEncoder
from librehps.media.resize import resize
from librehps.media.video import Clip, VideoReaders
from librehps.media.video_child import sample_indices
from librehps.pipeline.forward import Prepared, grid_of
from librehps.types import Item, Kind


@dataclass(frozen=True)
class Decoded:
    """A prepared item; width and height of the original, and the indices of a clip's frames.

    `sha256` is of the encoded bytes, None of pixels in memory.
    """

    prepared: Prepared
    kind: Kind
    width: int
    height: int
    frames: tuple[int, ...] | None
    prompt_tokens: int
    sha256: str | None = None


@dataclass(frozen=True)
class Decoder:
    """Opens, samples, resizes and tokenises; `pixel_budget` in pixels a frame, 0 for none."""

    encoder: PromptEncoder
    readers: VideoReaders
    pixel_budget: int
    num_frames: int

    def decode(self, item: Item, content: Content | None = None) -> Decoded:
        """Raises ItemError; `content` is the item's media, where it was looked at before."""
        if item.problem is not None:
            raise item.problem
        prompt_ids = self.encoder.encode_prompt(item.prompt)
        content = content or Content(item.media)
        kind = item.kind or content.kind()
        clip = self._clip(content) if kind == "video" else None
        pixels = _still(content)[None] if clip is None else clip.frames
        height, width = pixels.shape[-2:]
        pixels = resize(pixels.contiguous(), self.pixel_budget)
        return Decoded(
            prepared=Prepared(pixels, self.encoder.stream(kind, grid_of(pixels), prompt_ids)),
            kind=kind,
            width=width,
            height=height,
            frames=None if clip is None else clip.indices,
            prompt_tokens=len(prompt_ids),
            sha256=content.sha256(),
        )

    def _clip(self, content: Content) -> Clip:
        if content.is_encoded:
            with content.as_file() as path:
                return self.readers.read(path, self.num_frames)
        return _from_frames(content.media, self.num_frames)


def _still(content: Content) -> Tensor:
    return load_pixels(content.data if content.is_encoded else content.media, content.name)


def _from_frames(frames: Any, num_frames: int) -> Clip:
    """A clip of given frames, sampled as a file would be."""
    if not isinstance(frames, list | tuple) or not frames:
        raise UnsupportedMediaError("a clip is a path or a list of at least one frame")
    indices = sample_indices(len(frames), num_frames)
    pixels: list[Tensor] = [load_pixels(frames[index]) for index in indices]
    shapes = {(frame.shape[2], frame.shape[1]) for frame in pixels}
    if len(shapes) > 1:
        sizes = ", ".join(f"{width} x {height}" for width, height in sorted(shapes))
        raise UnsupportedMediaError(f"the frames of a clip differ in size: {sizes}")
    return Clip(torch.stack(pixels), tuple(indices))
