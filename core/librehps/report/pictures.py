"""The thumbnail of each row, or the reason why a row has none."""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from librehps.report.data import Rows
from librehps.report.pick import picked
from librehps.report.thumbnails import Thumbnail, thumbnails

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


def pictures_of(rows: Rows, limit: int, workers: int, watch: Watch) -> Pictures:
    """Return the thumbnails of at most `limit` rows; each file is opened once."""
    chosen = picked(rows.groups, rows.scores, limit)
    kinds = rows.kinds
    opened = {rows.paths[row]: kinds[row] for row in chosen}
    made = thumbnails(list(opened), list(opened.values()), workers)
    found = dict(zip(opened, watch(made, len(opened)), strict=True))
    places: dict[str | None, int] = {}
    reasons: dict[str, int] = {}
    of = [0] * len(rows.paths)
    for row in chosen:
        path = rows.paths[row]
        thumbnail = found[path]
        if isinstance(thumbnail, bytes):
            of[row] = places.setdefault(path, len(places))
        else:
            of[row] = -1 - reasons.setdefault(thumbnail, len(reasons))
    if len(chosen) < len(of):
        left_out = -1 - reasons.setdefault(OVER_LIMIT, len(reasons))
        for row in set(range(len(of))).difference(chosen):
            of[row] = left_out
    return Pictures([_text(found[path]) for path in places], of, list(reasons))


def _text(thumbnail: Thumbnail) -> str:
    return b64encode(thumbnail).decode() if isinstance(thumbnail, bytes) else ""
