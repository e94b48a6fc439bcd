"""The thumbnail of each row, or the reason why a row has none; and what stands behind it."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from librehps.media.named import Found
from librehps.report.data import Rows
from librehps.report.pick import picked
from librehps.report.shown import Made, Pictures, Shown, Wanted, Watch
from librehps.report.thumbnails import pictures_of_media

MAX_PICTURE_BYTES = 14_000_000
# The page embeds clips up to these sizes: of one clip, and of all.
MAX_CLIP_BYTES, MAX_CLIPS_BYTES = 500_000, 4_000_000
OVER_LIMIT = "skipped to keep the page small"


class Keeper(Protocol):
    """A place outside the page for larger pictures and clips."""

    wanted: Wanted

    def keep(self, place: int, shown: Shown) -> str | None:
        """Store the pictures of an image; return their link from the page, None if full."""


def pictures_of(
    rows: Rows,
    limit: int,
    workers: int,
    watch: Watch,
    max_bytes: int = MAX_PICTURE_BYTES,
    keeper: Keeper | None = None,
) -> Pictures:
    """Return the thumbnails of at most `limit` rows and `max_bytes`; each media is opened once.

    Larger pictures and clips go to the `keeper`; without one, small clips are embedded.
    """
    order = rows.order
    if order is None:
        order = picked(rows.groups, rows.scores, limit, rows.first)
    chosen = order[:limit]
    kinds, media = rows.kinds, rows.media
    opened: dict[Found | None, int] = {}
    for row in chosen:
        opened.setdefault(media[row], row)
    first = list(opened.values())
    wanted = Wanted(clip_bytes=MAX_CLIP_BYTES) if keeper is None else keeper.wanted
    asked = [media[row] for row in first], [kinds[row] for row in first]
    made = watch(pictures_of_media(*asked, workers, wanted), len(first))
    held = _held(dict(zip(first, range(len(first)), strict=True)), made, max_bytes, keeper)
    reasons: dict[str, int] = {}

    def reason(text: str) -> int:
        return -1 - reasons.setdefault(text, len(reasons))

    of = [0] * len(media)
    for row in chosen:
        found = held.places.get(opened[media[row]], OVER_LIMIT)
        of[row] = reason(found) if isinstance(found, str) else found
    if len(chosen) < len(of):
        left_out = reason(OVER_LIMIT)
        for row in set(range(len(of))).difference(chosen):
            of[row] = left_out
    return Pictures(held.images, of, list(reasons), held.clips, held.files)


@dataclass
class _Held:
    """Images so far, and the place of each row that was opened among them, or its reason."""

    images: list[str] = field(default_factory=list)
    places: dict[int, int | str] = field(default_factory=dict)
    clips: dict[int, tuple[str, str]] = field(default_factory=dict)
    files: dict[int, str] = field(default_factory=dict)


def _held(rows: dict[int, int], made: Iterator[Made], room: int, keeper: Keeper | None) -> _Held:
    """Return what fits on the page; the rest is not made."""
    held, clip_room = _Held(), MAX_CLIPS_BYTES
    for row, one in zip(rows, made, strict=True):
        if isinstance(one, str):
            held.places[row] = one
            continue
        room -= _size(one.thumbnail)
        if room < 0:
            break
        place = held.places[row] = len(held.images)
        held.images.append(b64encode(one.thumbnail).decode())
        if keeper is not None:
            link = keeper.keep(place, one)
            if link is not None:
                held.files[place] = link
        elif one.clip is not None and (size := _size(one.clip.data)) <= min(room, clip_room):
            room, clip_room = room - size, clip_room - size
            held.clips[place] = (one.clip.mime, b64encode(one.clip.data).decode())
    return held


def _size(data: bytes) -> int:
    """Return the bytes on the page: base64 has four characters for three bytes."""
    return len(data) * 4 // 3 + 8
