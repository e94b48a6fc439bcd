"""The media of a question as a browser shows them, under addresses that tell nothing of them."""

import shlex
import tempfile
from io import BytesIO
from pathlib import Path

from starlette.responses import FileResponse, Response

from librehps.errors import MediaError, UnsupportedMediaError
from librehps.judge.bare_images import without_metadata
from librehps.judge.pool import Pool
from librehps.media.containers import HEAD_BYTES, container_of, read_bytes
from librehps.media.image_formats import damage_named, open_image
from librehps.media.media import READ_ERRORS, Media, unreadable
from librehps.media.named import Found
from librehps.media.pillow_reader import is_turned
from librehps.types import Kind, Stored

# Images that are sent without their metadata; others are sent as PNG.
SHOWN_FORMATS = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
CLIP_TYPES = {"mov": "video/mp4", "matroska": "video/webm"}
# Each address is of one question, whose media do not change.
CACHED = {"Cache-Control": "private, max-age=86400, immutable"}
# In place of the file's time, which may tell generators apart.
CLIP = {**CACHED, "ETag": '"clip"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}


class Shelf:
    """Reads the items of a pool for the page; media at URLs are copied to a temporary folder."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._folder = tempfile.TemporaryDirectory(prefix="librehps-judge-")
        self._copies: dict[Stored, Path] = {}

    def close(self) -> None:
        """Delete the copies."""
        self._folder.cleanup()

    def problem(self, found: Found) -> MediaError | None:
        """Return why media cannot be shown, None if they can; reads the whole image."""
        try:
            path = self._path(found)
            if Media(path).kind() == "video":
                return _clip_problem(found, container_of(read_bytes(path, HEAD_BYTES)))
            image = open_image(read_bytes(path), str(found))
            with damage_named(str(found)):
                image.load()
        except MediaError as error:
            return error
        except READ_ERRORS as error:
            return unreadable(str(found), error)
        return None

    def kind(self, item: int) -> Kind:
        """Return whether an item is an image or a video; raises MediaError."""
        return Media(self._path(self._pool.find(item))).kind()

    def response(self, item: int) -> Response:
        """Return the answer with an item's content, of which ranges can be asked for clips."""
        path = self._path(self._pool.find(item))
        if Media(path).kind() == "video":
            kind = CLIP_TYPES.get(container_of(read_bytes(path, HEAD_BYTES)) or "", "video/mp4")
            return FileResponse(path, media_type=kind, headers=CLIP)
        content = read_bytes(path)
        image = open_image(content, path.name)
        # Without its metadata a turned image would lie on its side.
        bare = None if is_turned(image) else without_metadata(content, image.format)
        if bare is not None:
            kind = SHOWN_FORMATS[image.format or ""]
            return Response(bare, media_type=kind, headers=CACHED)
        return Response(_png(content, path.name), media_type="image/png", headers=CACHED)

    def _path(self, found: Found) -> Path:
        if isinstance(found, MediaError):
            raise found
        if isinstance(found, Path):
            return found
        if found not in self._copies:
            content = found.read()
            copy = Path(self._folder.name, f"{len(self._copies)}{Path(found.name).suffix}")
            copy.write_bytes(content)
            self._copies[found] = copy
        return self._copies[found]


def _clip_problem(found: Found, container: str | None) -> MediaError | None:
    if container in CLIP_TYPES:
        return None
    if container is None:
        return UnsupportedMediaError(f"{found} is not a video of a known format")
    name = Path(str(found)).name
    return UnsupportedMediaError(
        f"{found} is a clip in {container.upper()}, which browsers do not play. Convert it first: "
        f"ffmpeg -i {shlex.quote(name)} {shlex.quote(f'{Path(name).stem}.mp4')}"
    )


def _png(content: bytes, name: str) -> bytes:
    # Imported here: loads torch, which files in formats of browsers do not need.
    from librehps.media.images import load_rgb

    encoded = BytesIO()
    load_rgb(content, name).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
