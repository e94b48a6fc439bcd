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
from librehps.media.archived import Remote
from librehps.media.images import load_rgb
from librehps.media.media import Media
from librehps.media.named import NOT_ALLOWED, Found
from librehps.media.videos import VideoReaders

MAX_SIDE_PX, WEBP_QUALITY = 160, 70
# Frames read of a video; the middle frame is shown.
FRAMES_READ = 3
# Media at URLs that are read at the same time.
REMOTE_WORKERS = 16
NO_FILE = "media has no file"
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
    media: Sequence[Found | None], kinds: Sequence[str | None], workers: int
) -> Iterator[Thumbnail]:
    """Yield a WebP of at most MAX_SIDE_PX a side for each media, or the reason, in order."""
    is_far = any(isinstance(one, Remote) for one in media)
    readers = VideoReaders(count=workers)
    pool = ThreadPoolExecutor(max(workers, REMOTE_WORKERS if is_far else 0))
    try:
        yield from pool.map(lambda m, k: _thumbnail(m, k, readers), media, kinds)
    finally:
        pool.shutdown(cancel_futures=True)
        readers.close()


def _thumbnail(media: Found | None, kind: str | None, readers: VideoReaders) -> Thumbnail:
    if media is None:
        return NO_FILE
    try:
        if isinstance(media, MediaError):
            if str(media).endswith(NOT_ALLOWED):
                return NOT_ALLOWED
            raise media
        return _shrunk(_image(Media(media), kind, readers))
    except MediaError as error:
        return next((said for of, said in REASONS.items() if isinstance(error, of)), "damaged")
    except UsageError:
        # Reports may be made on a machine without a video reader.
        return "no video reader is installed"
    except (ValueError, OSError, MemoryError, RecursionError):
        # An invalid path, or an image that crashes its reader.
        return "cannot be read"


def _image(media: Media, kind: str | None, readers: VideoReaders) -> Image.Image:
    if (kind or media.kind()) != "video" or media.is_animated:
        return load_rgb(media.data, media.name)
    if isinstance(media.media, Path):
        return _frame(media.media, readers)
    with media.as_file() as path:
        return _frame(path, readers)


def _frame(path: Path, readers: VideoReaders) -> Image.Image:
    """Return the middle frame of a video."""
    frames = readers.read(path, FRAMES_READ).frames
    return Image.fromarray(frames[len(frames) // 2].permute(1, 2, 0).numpy())


def _shrunk(image: Image.Image) -> bytes:
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=2.0)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=WEBP_QUALITY, method=2)
    return encoded.getvalue()
