"""A quick check for files that are still being written: does the end of the format exist?"""

import os
import stat
from pathlib import Path

from librehps.errors import MediaError
from librehps.media.containers import HEAD_BYTES, check_video_file, container_of

TAIL_BYTES = 64
# The end of a file, by the first bytes of its format.
_TAILS = {b"\x89PNG": b"IEND", b"\xff\xd8\xff": b"\xff\xd9", b"GIF8": b";"}


def seems_cut(path: str) -> bool:
    """Return whether a regular file is empty, or lacks the end that its format has.

    False for formats without such an end, and for files that cannot be read: their rows tell why.
    A whole file can seem cut, if other bytes follow its end.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - called for each young file
        if not stat.S_ISREG(found.st_mode):
            return False
        if not found.st_size:
            return True
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, found.st_size - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return False
    for magic, end in _TAILS.items():
        if head.startswith(magic):
            return end not in tail
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little") + 8 > found.st_size
    return container_of(head) is not None and _is_cut_video(Path(path))


def _is_cut_video(path: Path) -> bool:
    try:
        check_video_file(path)
    except (MediaError, OSError):
        return True
    return False
