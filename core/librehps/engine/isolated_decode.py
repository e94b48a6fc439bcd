"""A decoder whose encoded media are decoded in a process of its own."""

from dataclasses import dataclass, fields
from typing import Any

from librehps.engine.decode import Decoder
from librehps.media.containers import is_parsed_by_library
from librehps.media.images import Picture
from librehps.media.lazy import Lazy
from librehps.media.media import Media
from librehps.media.videos import Clip, VideoReader


class IsolatedMedia(Media):
    """Media of senders who are not trusted: images that libraries parse are read by `reader`."""

    def __init__(self, media: Any, reader: VideoReader, called: str) -> None:
        super().__init__(media, reader, called)
        self._reader = reader

    @Lazy
    def is_animated(self) -> bool:
        """True for encoded bytes that are an image of more than one frame."""
        if not is_parsed_by_library(self.head()):
            return super().is_animated
        return self._reader.header(self.data, self.name)[1]


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
