"""Clips in the formats that browsers play, for the page to embed or for a bundle."""

from pathlib import Path

from librehps.media.containers import container_of
from librehps.media.media import Media
from librehps.report.shown import Clip

# Matroska is played by few browsers; this name in a file's head says that it is WebM.
WEBM = b"webm"


def clip_of(media: Media, max_bytes: int) -> Clip | None:
    """Return a clip that browsers can play; None for other formats and larger files."""
    head = media.head()
    container = container_of(head)
    if container == "mov":
        mime, suffix = "video/mp4", ".mp4"
    elif container == "matroska" and WEBM in head:
        mime, suffix = "video/webm", ".webm"
    else:
        return None
    if isinstance(media.media, Path) and media.media.stat().st_size > max_bytes:
        return None
    data = media.data
    return Clip(data, mime, suffix) if len(data) <= max_bytes else None
