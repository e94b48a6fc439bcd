"""The pictures and clips of a report, as values; made without loading a decoder."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Clip:
    """The bytes of a clip, its MIME type, and the suffix of a file of this type."""

    data: bytes
    mime: str
    suffix: str


@dataclass(frozen=True)
class Wanted:
    """The kinds of pictures to make: larger ones too, and clips of at most `clip_bytes`."""

    large: bool = False
    clip_bytes: int = 0


@dataclass(frozen=True)
class Shown:
    """The pictures of a media: a WebP thumbnail, a larger WebP, and a clip that browsers play."""

    thumbnail: bytes
    large: bytes | None = None
    clip: Clip | None = None


# The pictures of a media, or the reason why there are none.
Made = Shown | str
# Wraps an iterator to show progress, given the total number.
Watch = Callable[[Iterator[Made], int], Iterator[Made]]


@dataclass(frozen=True)
class Pictures:
    """The thumbnails (base64) of a report; `of` maps each row to an image, or to -1 - a reason.

    `clips` has (MIME type, base64) of images that are clips, `files` the links of larger pictures
    and clips in a bundle, by image.
    """

    images: list[str]
    of: list[int]
    reasons: list[str]
    clips: dict[int, tuple[str, str]] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)

    def missing(self) -> dict[str, int]:
        """Return the number of rows without a thumbnail by reason, largest first."""
        counts = Counter(self.reasons[-1 - at] for at in self.of if at < 0)
        return dict(counts.most_common())
