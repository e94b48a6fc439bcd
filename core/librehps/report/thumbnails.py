"""Pictures of media for the page: thumbnails, and the larger pictures and clips behind them."""

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
from librehps.report.clips import clip_of
from librehps.report.permitted import OUTSIDE
from librehps.report.shown import Made, Shown, Wanted

MAX_SIDE_PX, WEBP_QUALITY = 160, 70
LARGE_SIDE_PX, LARGE_QUALITY = 1280, 85
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


def pictures_of_media(
    media: Sequence[Found | None],
    kinds: Sequence[str | None],
    workers: int,
    wanted: Wanted,
) -> Iterator[Made]:
    """Yield the pictures of each media, or the reason why it has none, in order."""
    is_far = any(isinstance(one, Remote) for one in media)
    readers = VideoReaders(count=workers)
    pool = ThreadPoolExecutor(max(workers, REMOTE_WORKERS if is_far else 0))
    try:
        yield from pool.map(lambda m, k: _made(m, k, readers, wanted), media, kinds)
    finally:
        pool.shutdown(cancel_futures=True)
        readers.close()


def _made(media: Found | None, kind: str | None, readers: VideoReaders, wanted: Wanted) -> Made:
    if media is None:
        return NO_FILE
    try:
        if isinstance(media, MediaError):
            for reason in (NOT_ALLOWED, OUTSIDE):
                if str(media).endswith(reason):
                    return reason
            raise media
        return _shown(Media(media), kind, readers, wanted)
    except MediaError as error:
        return next((said for of, said in REASONS.items() if isinstance(error, of)), "damaged")
    except UsageError:
        # Reports may be made on a machine without a video reader.
        return "no video reader is installed"
    except (ValueError, OSError, MemoryError, RecursionError):
        # An invalid path, or an image that crashes its reader.
        return "cannot be read"


def _shown(media: Media, kind: str | None, readers: VideoReaders, wanted: Wanted) -> Shown:
    is_clip = (kind or media.kind()) == "video" and not media.is_animated
    image = _frame(media, readers) if is_clip else load_rgb(media.data, media.name)
    clip = clip_of(media, wanted.clip_bytes) if is_clip and wanted.clip_bytes else None
    # The larger picture first, since shrinking changes the image in place.
    large = _shrunk(image, LARGE_SIDE_PX, LARGE_QUALITY) if wanted.large and not clip else None
    return Shown(_shrunk(image, MAX_SIDE_PX, WEBP_QUALITY), large, clip)


def _frame(media: Media, readers: VideoReaders) -> Image.Image:
    """Return the middle frame of a video."""
    if isinstance(media.media, Path):
        return _middle(media.media, readers)
    with media.as_file() as path:
        return _middle(path, readers)


def _middle(path: Path, readers: VideoReaders) -> Image.Image:
    frames = readers.read(path, FRAMES_READ).frames
    return Image.fromarray(frames[len(frames) // 2].permute(1, 2, 0).numpy())


def _shrunk(image: Image.Image, side: int, quality: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=quality, method=2)
    return encoded.getvalue()
