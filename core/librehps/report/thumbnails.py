"""Thumbnails of media, to embed in the page."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from librehps.errors import (
    DecompressionBombError,
    EmptyFileError,
    MediaError,
    MediaNotFoundError,
    UnsupportedMediaError,
    UsageError,
    VideoTimeoutError,
)
from librehps.media.archived import is_remote
from librehps.media.containers import kind_of
from librehps.media.images import load_rgb
from librehps.media.media import Media
from librehps.media.videos import VideoReaders

MAX_SIDE_PX, WEBP_QUALITY = 160, 70
# Frames read of a video; the middle frame is shown.
FRAMES_READ = 3
NO_FILE, NOT_LOCAL = "media has no file", "media in an archive or on the network"
REASONS: dict[type[MediaError], str] = {
    MediaNotFoundError: "file not found",
    EmptyFileError: "empty file",
    UnsupportedMediaError: "unsupported format",
    DecompressionBombError: "image too large",
    VideoTimeoutError: "video timeout",
}
# A thumbnail, or the reason why there is none.
Thumbnail = bytes | str


def thumbnails(
    media: Sequence[str | None], kinds: Sequence[str | None], workers: int
) -> Iterator[Thumbnail]:
    """Yield a WebP of at most MAX_SIDE_PX a side for each path, or the reason, in order."""
    readers = VideoReaders(count=workers)
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(lambda m, k: _thumbnail(m, k, readers), media, kinds)
    finally:
        pool.shutdown(cancel_futures=True)
        readers.close()


def _thumbnail(media: str | None, kind: str | None, readers: VideoReaders) -> Thumbnail:
    if media is None:
        return NO_FILE
    path = Path(media)
    try:
        is_clip = _is_video(path, kind) and not Media(path).is_animated
        return _shrunk(_frame(path, readers) if is_clip else load_rgb(path))
    except MediaNotFoundError:
        is_elsewhere = is_remote(media) or "::" in media
        return NOT_LOCAL if is_elsewhere else REASONS[MediaNotFoundError]
    except MediaError as error:
        return next((said for of, said in REASONS.items() if isinstance(error, of)), "damaged")
    except UsageError:
        # Reports may be made on a machine without a video reader.
        return "no video reader is installed"
    except (ValueError, OSError, MemoryError, RecursionError):
        # An invalid path, or an image that crashes its reader.
        return "cannot be read"


def _is_video(path: Path, kind: str | None) -> bool:
    return (kind or kind_of(path)) == "video"


def _frame(path: Path, readers: VideoReaders) -> Image.Image:
    """Return the middle frame of a video."""
    frames = readers.read(path, FRAMES_READ).frames
    return Image.fromarray(frames[len(frames) // 2].permute(1, 2, 0).numpy())


def _shrunk(image: Image.Image) -> bytes:
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=WEBP_QUALITY, method=2)
    return encoded.getvalue()
