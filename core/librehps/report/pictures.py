"""The thumbnail of each row, or the reason why a row has none."""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from librehps.media.named import Found
from librehps.report.data import Rows
from librehps.report.pick import picked
from librehps.report.thumbnails import Thumbnail, thumbnails

MAX_PICTURE_BYTES = 14_000_000
OVER_LIMIT = "skipped to keep the page small"
# Wraps an iterator to show progress, given the total number.
Watch = Callable[[Iterator[Thumbnail], int], Iterator[Thumbnail]]


@dataclass(frozen=True)
class Pictures:
    """The thumbnails (base64) of a report; `of` maps each row to an image, or to -1 - a reason."""

    images: list[str]
    of: list[int]
    reasons: list[str]

    def missing(self) -> dict[str, int]:
        """Return the number of rows without a thumbnail by reason, largest first."""
        counts = Counter(self.reasons[-1 - at] for at in self.of if at < 0)
        return dict(counts.most_common())


def pictures_of(
    rows: Rows, limit: int, workers: int, watch: Watch, max_bytes: int = MAX_PICTURE_BYTES
) -> Pictures:
    """Return the thumbnails of at most `limit` rows and `max_bytes`; each media is opened once."""
    order = picked(rows.groups, rows.scores, limit) if rows.order is None else rows.order
    chosen = order[:limit]
    kinds, media = rows.kinds, rows.media
    opened: dict[Found | None, int] = {}
    for row in chosen:
        opened.setdefault(media[row], row)
    first = list(opened.values())
    made = thumbnails([media[row] for row in first], [kinds[row] for row in first], workers)
    found = _fitting(zip(first, watch(made, len(first)), strict=True), max_bytes)
    places: dict[int, int] = {}
    reasons: dict[str, int] = {}
    of = [0] * len(media)
    for row in chosen:
        key = opened[media[row]]
        thumbnail = found.get(key, OVER_LIMIT)
        if isinstance(thumbnail, bytes):
            of[row] = places.setdefault(key, len(places))
        else:
            of[row] = -1 - reasons.setdefault(thumbnail, len(reasons))
    if len(chosen) < len(of):
        left_out = -1 - reasons.setdefault(OVER_LIMIT, len(reasons))
        for row in set(range(len(of))).difference(chosen):
            of[row] = left_out
    return Pictures([_text(found[row]) for row in places], of, list(reasons))


def _fitting(made: Iterator[tuple[int, Thumbnail]], max_bytes: int) -> dict[int, Thumbnail]:
    """Return thumbnails by row until the page is full; the rest is not made."""
    found: dict[int, Thumbnail] = {}
    for row, thumbnail in made:
        # Base64 has four characters for three bytes.
        max_bytes -= len(thumbnail) * 4 // 3 + 8 if isinstance(thumbnail, bytes) else 0
        if max_bytes < 0:
            break
        found[row] = thumbnail
    return found


def _text(thumbnail: Thumbnail) -> str:
    return b64encode(thumbnail).decode() if isinstance(thumbnail, bytes) else ""
