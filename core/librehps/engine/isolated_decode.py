"""A decoder whose encoded media are decoded in a process of its own."""

from dataclasses import dataclass, fields
from typing import Any

from librehps.engine.decode import Decoder
from librehps.media.images import Picture
from librehps.media.media import Media
from librehps.media.videos import Clip, VideoReader


@dataclass(frozen=True)
class IsolatedDecoder(Decoder):
    """A decoder that leaves images and animations to `reader` too; pixels are the same.

    `memory`: bytes that one decode may add to the reader's process. Encoded bytes are those of
    senders who are not trusted: the process can be killed, and has a lower priority.
    """

    reader: VideoReader | None = None
    memory: int | None = None

    @classmethod
    def of(cls, decoder: Decoder, reader: VideoReader) -> "IsolatedDecoder":
        """Return the decoder with all decoding in the reader's process."""
        return cls(
            **{each.name: getattr(decoder, each.name) for each in fields(Decoder)}, reader=reader
        )

    def _clip(self, content: Media) -> Clip:
        if not content.is_encoded or self.reader is None:
            return super()._clip(content)
        if content.is_animated:
            return self.reader.animation(
                content.data,
                content.name,
                self.num_frames,
                self.media,
                self.max_pixels,
                self.memory,
            )
        with content.as_file() as path:
            wanted = (self.num_frames, self.max_pixels, self.media.sample)
            return self.reader.read(path, *wanted, self.memory)

    def _load(self, source: Any, name: str = "the image") -> Picture:
        if not isinstance(source, bytes) or self.reader is None:
            return super()._load(source, name)
        return self.reader.image(source, name, self.max_pixels, self.media, self.memory)
