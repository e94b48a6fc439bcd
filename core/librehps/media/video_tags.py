"""Tags of a video container: the texts that generators and editors store in it."""

from librehps.media.refusal import RefusedError
from librehps.media.video_file import open_video

# All tags of a file together; a workflow of a generator has up to a few hundred thousand.
MAX_TAG_CHARS = 1 << 22


def read_tags(path: str, container: str) -> dict[str, str]:
    """Return the tags of a container, keys as they are stored; invalid UTF-8 becomes U+FFFD."""
    with open_video(path, container) as file:
        tags = {str(key): str(text) for key, text in file.metadata.items()}
    length = sum(len(key) + len(text) for key, text in tags.items())
    if length > MAX_TAG_CHARS:
        reason = f"its tags are too long ({length} characters; at most {MAX_TAG_CHARS})"
        raise RefusedError("UnsupportedMediaError", reason)
    return tags
