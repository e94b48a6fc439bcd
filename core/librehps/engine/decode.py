"""The decode stage: an item's media and prompt become the model's input, or an ItemError."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from librehps.engine.disk_cache import CachedScore, ContentScores
from librehps.errors import UnsupportedMediaError, UsageError
from librehps.media.animations import read_animation
from librehps.media.arrays import quantised
from librehps.media.image_formats import MAX_PIXELS
from librehps.media.images import Picture, load_picture
from librehps.media.media import Media
from librehps.media.options import MediaOptions
from librehps.media.perceptual_hash import perceptual_hash
from librehps.media.sampling import sample_indices
from librehps.media.videos import Clip, VideoReaders
from librehps.models.base import Prepared, Processor, RawScore
from librehps.types import Item, Kind

log = logging.getLogger("librehps")

# Training saw no clips of more frames.
MAX_TRAINED_FRAMES = 8
# The input of an item whose score is cached: no token, so that no model can score it.
_NOTHING = torch.empty(0, dtype=torch.int64)
NOT_PREPARED = Prepared(_NOTHING, _NOTHING, _NOTHING, _NOTHING)


class Decoded(NamedTuple):
    """A decoded item: model input, original width and height, and indices of a video's frames.

    `sha256` is the hash of the encoded bytes, None for pixels in memory; `remarks` are names of
    `librehps.media.remarks`, `media_remarks` those that come from the media alone. An item whose
    score is `cached` is not prepared. `phash` is the perceptual hash, if it was asked for;
    `is_new_hash`: the cache has the score, but not this hash.
    """

    prepared: Prepared
    kind: Kind
    width: int
    height: int
    frames: tuple[int, ...] | None
    prompt_tokens: int
    sha256: str | None = None
    remarks: frozenset[str] = frozenset()
    media_remarks: frozenset[str] = frozenset()
    cached: RawScore | None = None
    phash: str | None = None
    is_new_hash: bool = False


@dataclass(frozen=True)
class Decoder:
    """A decoder: opens media, samples frames, and prepares them with the model's processor.

    Media of other `kinds`, and encoded images and frames of more than `max_pixels`, are errors.
    `media`: how files become pixels.
    `resize_on`: the device on which tensors are resized, as floats (None: exactly, on the CPU).
    `cache`: scores of earlier runs; encoded media with such a score are not decoded, unless
    perceptual hashes are asked for with `hashes`, and the cache lacks the hash.
    """

    processor: Processor
    readers: VideoReaders
    num_frames: int
    kinds: tuple[Kind, ...] = ("image", "video")
    media: MediaOptions = field(default_factory=MediaOptions)
    resize_on: torch.device | None = None
    max_pixels: int = MAX_PIXELS
    cache: ContentScores | None = None
    hashes: bool = False

    def decode(self, item: Item, content: Media | None = None) -> Decoded:
        """Return the decoded item; `content` is its media, if opened before. Raises ItemError."""
        if item.problem is not None:
            raise item.problem
        prompt_ids = self.processor.encode(item.prompt)
        content = content or Media(item.media)
        kind = self.kind_of(item, content)
        if kind not in self.kinds:
            raise self._unsupported(content, kind)
        if self.cache is not None and content.is_encoded:
            sha256 = _hash_before(content, kind)
            if (found := self.cache.find(kind, sha256, item.prompt)) is not None:
                known = _from_cache(found, kind, sha256, len(prompt_ids), content.remarks)
                return known if known.phash or not self.hashes else self._hashed(known, content)
        clip = self._open(content, kind)
        pixels = clip.frames
        height, width = pixels.shape[-2:]
        in_memory = isinstance(content.media, Tensor | list | tuple)
        as_floats = self.resize_on is not None and in_memory
        pixels = pixels.to(self.resize_on) if as_floats else pixels
        prepare = self.processor.prepare
        return Decoded(
            prepared=prepare(pixels.contiguous(), kind, prompt_ids, as_floats=as_floats),
            kind=kind,
            width=width,
            height=height,
            frames=clip.indices if kind == "video" else None,
            prompt_tokens=len(prompt_ids),
            sha256=content.sha256(),
            remarks=clip.remarks | content.remarks,
            media_remarks=clip.remarks,
            phash=perceptual_hash(clip.frames) if self.hashes else None,
        )

    def _hashed(self, known: Decoded, content: Media) -> Decoded:
        """Return an item whose score is known, with the perceptual hash of its media."""
        phash = perceptual_hash(self._open(content, known.kind).frames)
        return known._replace(phash=phash, is_new_hash=True)

    def _open(self, content: Media, kind: Kind) -> Clip:
        return self._clip(content) if kind == "video" else self._still(content)

    def kind_of(self, item: Item, content: Media) -> Kind:
        """Return the kind as which an item is scored: an animated image file may be a video."""
        kind = item.kind or content.kind()
        may_be_clip = kind == "image" and self.media.animated == "clip"
        is_clip = may_be_clip and content.is_encoded and content.is_animated
        return "video" if is_clip else kind

    def _unsupported(self, content: Media, kind: Kind) -> UnsupportedMediaError:
        message = f"{content.name}: the model scores {' and '.join(self.kinds)}s only, got "
        if kind == "video" and content.is_encoded and content.is_animated:
            return UnsupportedMediaError(
                f"{message}an animated image. Use --animated still for its first frame"
            )
        return UnsupportedMediaError(f"{message}a {kind}")

    def _clip(self, content: Media) -> Clip:
        if not content.is_encoded:
            return _from_frames(content, self.num_frames, self._load)
        if content.is_animated:
            return read_animation(
                content.data, content.name, self.num_frames, self.media, self.max_pixels
            )
        with content.as_file() as path:
            return self.readers.read(path, self.num_frames, self.max_pixels, self.media.sample)

    def _still(self, content: Media) -> Clip:
        source = content.data if content.is_encoded else content.media
        picture = self._load(source, content.name)
        return Clip(picture.pixels[None], (0,), picture.remarks)

    def _load(self, source: Any, name: str = "the image") -> Picture:
        # A tensor without data goes nowhere: `load_picture` says so.
        if self.resize_on is not None and isinstance(source, Tensor) and not source.is_meta:
            return Picture(quantised(source.to(self.resize_on)))
        return load_picture(source, name, self.max_pixels, self.media)


def _hash_before(content: Media, kind: Kind) -> str:
    """Return the hash of encoded media that are decoded later, if they are not cached."""
    if kind == "image" or content.is_animated:
        # Kept in memory, so that the hashed bytes are the decoded bytes.
        _ = content.data
    else:
        # A clip is decoded from its file, and hashed again meanwhile.
        content = Media(content.media)
    sha256 = content.sha256()
    assert sha256 is not None  # noqa: S101 - encoded media have a hash
    return sha256


def _from_cache(
    found: CachedScore, kind: Kind, sha256: str, prompt_tokens: int, remarks: Iterable[str]
) -> Decoded:
    return Decoded(
        prepared=NOT_PREPARED,
        kind=kind,
        width=found.width,
        height=found.height,
        frames=found.frames,
        prompt_tokens=prompt_tokens,
        sha256=sha256,
        remarks=found.remarks.union(remarks),
        media_remarks=found.remarks,
        cached=found.raw,
        phash=found.phash,
    )


def _from_frames(content: Media, num_frames: int, load: Callable[[Any, str], Picture]) -> Clip:
    """Return a clip of frames in memory, sampled like the frames of a file."""
    frames = content.media
    if getattr(frames, "ndim", 0) == 4:
        frames = [*frames]
    if not isinstance(frames, list | tuple) or not frames:
        raise UnsupportedMediaError("expected a video as path or non-empty list of frames")
    indices = sample_indices(len(frames), num_frames)
    pictures = [load(frames[index], content.frame_name(index)) for index in indices]
    pixels = [picture.pixels for picture in pictures]
    shapes = {(frame.shape[2], frame.shape[1]) for frame in pixels}
    if len(shapes) > 1:
        sizes = ", ".join(f"{width} x {height}" for width, height in sorted(shapes))
        raise UnsupportedMediaError(f"the frames of a video differ in size: {sizes}")
    # Frames of several kinds may lie on several devices.
    together = torch.stack([frame.to(pixels[0].device) for frame in pixels])
    remarks = frozenset[str]().union(*(picture.remarks for picture in pictures))
    return Clip(together, tuple(indices), remarks)


def check_frames(frames: int) -> None:
    """Raise UsageError for no frames; warn of more frames per video than training saw."""
    if frames < 1:
        raise UsageError(f"num_frames: expected 1 or more, got {frames}")
    if frames > MAX_TRAINED_FRAMES:
        log.warning(
            "num_frames: %d frames per video, but the model was trained on at most %d",
            frames,
            MAX_TRAINED_FRAMES,
        )
