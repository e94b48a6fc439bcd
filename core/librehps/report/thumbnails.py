"""Small pictures of media, as the page embeds them."""

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
from librehps.media.videos import VideoReaders

SIDE, QUALITY = 160, 70
# Frames that are read of a clip; the middle one is shown.
FRAMES = 3
IN_MEMORY, ELSEWHERE = "media without a file", "media in an archive or on the network"
REASONS: dict[type[MediaError], str] = {
    MediaNotFoundError: "file not found",
    EmptyFileError: "empty file",
    UnsupportedMediaError: "no format that we open",
    DecompressionBombError: "picture too large",
    VideoTimeoutError: "video took too long",
}
# A thumbnail, or why there is none.
Thumbnail = bytes | str


def thumbnails(
    media: Sequence[str | None], kinds: Sequence[str | None], workers: int
) -> Iterator[Thumbnail]:
    """WebP of at most SIDE pixels a side for each path, or the reason in words, in order."""
    readers = VideoReaders(count=workers)
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(lambda m, k: _thumbnail(m, k, readers), media, kinds)
    finally:
        pool.shutdown(cancel_futures=True)
        readers.close()


def _thumbnail(media: str | None, kind: str | None, readers: VideoReaders) -> Thumbnail:
    if media is None:
        return IN_MEMORY
    path = Path(media)
    try:
        return _shrunk(_frame(path, readers) if _is_video(path, kind) else load_rgb(path))
    except MediaNotFoundError:
        is_elsewhere = is_remote(media) or "::" in media
        return ELSEWHERE if is_elsewhere else REASONS[MediaNotFoundError]
    except MediaError as error:
        return next((said for of, said in REASONS.items() if isinstance(error, of)), "damaged")
    except UsageError:
        # Scores may be looked at where no reader of videos is installed.
        return "no video reader is installed"
    except (ValueError, OSError, MemoryError, RecursionError):
        # Of a name that is no path, or a picture that no reader foresaw.
        return "cannot be read"


def _is_video(path: Path, kind: str | None) -> bool:
    return (kind or kind_of(path)) == "video"


def _frame(path: Path, readers: VideoReaders) -> Image.Image:
    """The middle of a clip."""
    frames = readers.read(path, FRAMES).frames
    return Image.fromarray(frames[len(frames) // 2].permute(1, 2, 0).numpy())


def _shrunk(image: Image.Image) -> bytes:
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=QUALITY, method=2)
    return encoded.getvalue()
