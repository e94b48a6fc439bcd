"""First stage: an item's media and prompt become what the model reads, or a named error."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from librehps.errors import UnsupportedMediaError
from librehps.media.files import kind_of
from librehps.media.image import load_pixels
from librehps.media.prompt import PromptEncoder
from librehps.media.resize import resize
from librehps.media.video import Clip, VideoReader
from librehps.media.video_child import sample_indices
from librehps.pipeline.forward import Prepared, grid_of
from librehps.types import Item, Kind


@dataclass(frozen=True)
class Decoded:
    """A prepared item; width and height of the original, and the indices of a clip's frames."""

    prepared: Prepared
    kind: Kind
    width: int
    height: int
    frames: tuple[int, ...] | None
    prompt_tokens: int


@dataclass(frozen=True)
class Decoder:
    """Opens, samples, resizes and tokenises; `pixel_budget` in pixels a frame, 0 for none."""

    encoder: PromptEncoder
    reader: VideoReader
    pixel_budget: int
    num_frames: int

    def decode(self, item: Item) -> Decoded:
        """Raises ItemError."""
        if item.problem is not None:
            raise item.problem
        prompt_ids = self.encoder.encode_prompt(item.prompt)
        kind = item.kind or _kind(item.media)
        clip = self._clip(item.media) if kind == "video" else None
        pixels = load_pixels(item.media)[None] if clip is None else clip.frames
        height, width = pixels.shape[-2:]
        pixels = resize(pixels.contiguous(), self.pixel_budget)
        stream = self.encoder.stream(kind, grid_of(pixels), prompt_ids)
        frames = None if clip is None else clip.indices
        return Decoded(Prepared(pixels, stream), kind, width, height, frames, len(prompt_ids))

    def _clip(self, media: Any) -> Clip:
        if isinstance(media, str | Path):
            return self.reader.read(Path(media), self.num_frames)
        return _from_frames(media, self.num_frames)


def _kind(media: Any) -> Kind:
    if isinstance(media, str | Path):
        return kind_of(Path(media))
    return "video" if isinstance(media, list | tuple) else "image"


def _from_frames(frames: Sequence[Any], num_frames: int) -> Clip:
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
