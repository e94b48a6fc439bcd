"""Tag scored media with ratings of 1 to 5 stars by the quantile of their score in their prompt."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from librehps.choices import SidecarNames, check_choice
from librehps.decide.companions import Companions
from librehps.decide.quantiles import ranks_within
from librehps.errors import MediaError, MediaNotFoundError, UnsupportedMediaError
from librehps.media.archived import is_remote
from librehps.ratings.media_files import file_codes, text_chunks
from librehps.ratings.picture import Facts, Place
from librehps.scores.key_codes import codes_of
from librehps.scores.media_folder import INSIDE, MediaFolder, exists
from librehps.scores.score_table import Scores, ScoreTable, as_score_table
from librehps.scores.scored_file import Mask
from librehps.scores.select import check_scored, check_text, number_column, ok_rows, scored_rows
from librehps.storage.places import shown

STARS = 5
# Files that are read and written at the same time.
THREADS = 8
# Of larger pictures only one at a time is in memory.
LARGE_BYTES = 1 << 24
MAX_NAMED = 100
Integers = NDArray[np.int64]
Watch = Callable[[Iterable[Any], int, str], Iterator[Any]]
OVERALL = "overall"


class Outcome(NamedTuple):
    """The outcome for one media: what its changes are, or an error; without the files' bytes.

    `is_half`: `a.xmp` was not written, since other media share this name.
    """

    text: str
    stars: int | None
    is_changed: bool = False
    replaces: bool = False
    is_edited: bool = False
    is_half: bool = False
    error: MediaError | None = None


@dataclass
class Tagged:
    """The result of `tag`: numbers of media.

    `ratings` has the number of media by rating. `changed` media have another rating now, and
    `unchanged` had it already. `replaced` had a rating of somebody else, `edited` were changed by
    somebody after they were tagged, and of `shared` media only the sidecar `a.png.xmp` was written.
    `failed` has the number of media by class of error, and `errors` the reasons of the first.
    """

    ratings: Counter[int] = field(default_factory=Counter)
    changed: int = 0
    unchanged: int = 0
    replaced: int = 0
    edited: int = 0
    shared: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        if outcome.error is not None:
            self.failed[type(outcome.error).__name__] += 1
            if len(self.errors) < MAX_NAMED:
                self.errors[shown(outcome.text)] = str(outcome.error)
            return
        if outcome.stars is not None:
            self.ratings[outcome.stars] += 1
        self.changed += outcome.is_changed
        self.unchanged += not outcome.is_changed
        self.replaced += outcome.replaces
        self.edited += outcome.is_edited
        self.shared += outcome.is_half

    def record(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        numbers = ("changed", "unchanged", "replaced", "edited", "shared")
        return {
            "ratings": {str(stars): self.ratings[stars] for stars in range(STARS, 0, -1)},
            **{name: getattr(self, name) for name in numbers},
            "failed": self.failed.total(),
            "errors": self.errors,
        }


def tag(
    scores: Scores,
    *,
    sidecar: SidecarNames = "both",
    embed: bool = False,
    remove: bool = False,
    by: str | None = None,
    per: str | None = None,
    dry_run: bool = False,
    root: str | Path | None = None,
    watch: Watch | None = None,
) -> Tagged:
    """Write a rating of 1 (worst) to 5 (best) for each scored file, where picture tools read it.

    The rating is the quantile of the score within the prompt: of an axis `by` (its mu, default:
    overall) or a numeric column, within each value of `per` (a column, `folder` or `all`). Sidecars
    are named `a.png.xmp` (full) and `a.xmp` (stem); with `embed` the rating goes inside PNG, JPEG
    and WebP files, and no pixel changes. `remove` takes the ratings away again: sidecars that this
    function made are deleted, and others are as they were before, byte for byte. `dry_run` only
    counts. `root` is the folder in which the media lie now, and `watch` shows the progress. Media
    that cannot be tagged are counted in the result. Raises UsageError for a missing column.
    """
    check_choice(sidecar, SidecarNames, "sidecar")
    given = as_score_table(scores)
    if remove:
        check_scored(given.source, given.origin)
        rows, ratings = given.of(given.source.filter(ok_rows(given.source))), None
    else:
        rows = given.of(scored_rows(given.source, given.origin))
        ratings = ranks_within(rows, by, per).quantiles(STARS)
    check_text(rows.source, "media")
    folder = rows.folder.under(root)
    codes = codes_of(rows.source, "media").astype(np.int64)
    if embed:
        codes = file_codes(rows, codes, folder)
    plan = _Plan.of(rows, ratings, by or OVERALL, codes)
    tagger = _Tagger(Place(sidecar, embed), folder, dry_run)
    result = Tagged()
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = (one for chunk in plan.chunks() for one in pool.map(tagger, chunk))
        for outcome in watch(outcomes, len(rows), "tagging") if watch else outcomes:
            result.add(outcome)
    return result


class _Task(NamedTuple):
    """A row to tag: `stars` None takes the rating away; `problem` says why that is impossible."""

    text: str
    stars: int | None
    facts: Facts
    problem: str | None


@dataclass(frozen=True)
class _Plan:
    """The rows to tag; `is_first`: the first row of its file, `is_mixed`: rows of it differ."""

    rows: ScoreTable
    ratings: Integers | None
    values: Any
    by: str
    is_first: Mask
    is_mixed: Mask

    @classmethod
    def of(cls, rows: ScoreTable, ratings: Integers | None, by: str, codes: Integers) -> "_Plan":
        """Return the plan; `codes` has the number of each row's file, -1 for none."""
        _, first = np.unique(codes, return_index=True)
        is_first = codes < 0
        is_first[first] = True
        is_mixed, values = np.zeros(len(codes), dtype=bool), None
        if ratings is not None:
            size = int(codes.max(initial=-1)) + 1
            lowest, highest = np.full(size + 1, STARS), np.zeros(size + 1, dtype=np.int64)
            np.minimum.at(lowest, codes, ratings)
            np.maximum.at(highest, codes, ratings)
            is_mixed = (codes >= 0) & (lowest != highest)[codes]
            values = number_column(rows.source, by)
        return cls(rows, ratings, values, by, is_first, is_mixed)

    def chunks(self) -> Iterator[list[_Task]]:
        """Yield the tasks of the rows, some at a time."""
        for at, texts in text_chunks(self.rows):
            found = (self._task(at + number, text) for number, text in enumerate(texts))
            yield [task for task in found if task is not None]

    def _task(self, row: int, text: str | None) -> _Task | None:
        if not self.is_first[row]:
            return None
        if text is None:
            return _Task("a row", None, {}, "has no path: its media were in memory or in a tar")
        if self.ratings is None:
            return _Task(text, None, {}, None)
        stars = int(self.ratings[row])
        problem = None
        if self.is_mixed[row]:
            problem = "several rows name this file, and their ratings differ"
        elif not stars:
            problem = f"has no value in the column {self.by}"
        value = self.values[row].as_py()
        return _Task(text, stars, {"score": f"{value or 0:.6g}", "column": self.by}, problem)


class _Tagger:
    """A function that tags one file; it is called in several threads."""

    def __init__(self, place: Place, folder: MediaFolder, dry_run: bool) -> None:
        self._place, self._folder, self._dry_run = place, folder, dry_run
        self._companions, self._shared, self._large = Companions(), Lock(), Lock()

    def __call__(self, task: _Task) -> Outcome:
        if task.problem is not None:
            return Outcome(task.text, task.stars, error=UnsupportedMediaError(task.problem))
        try:
            media = _file_named(self._folder, task.text)
            is_shared = self._place.names_stem and self._companions.is_shared(media)
            with self._lock(media, is_shared):
                changes = self._place.changes(media, task.stars, task.facts, is_shared)
                for change in changes if not self._dry_run else ():
                    change.apply()
        except MediaError as error:
            return Outcome(task.text, task.stars, error=error)
        return Outcome(
            task.text,
            task.stars,
            is_changed=any(change.is_change for change in changes),
            replaces=any(change.replaces for change in changes),
            is_edited=any(change.is_edited for change in changes),
            is_half=is_shared and task.stars is not None,
        )

    def _lock(self, media: Path, is_shared: bool) -> AbstractContextManager[object]:
        """Return the lock for files that share a sidecar, and for large files in memory."""
        if is_shared:
            return self._shared
        is_large = self._place.embed and media.stat().st_size > LARGE_BYTES
        return self._large if is_large else nullcontext()


def _file_named(folder: MediaFolder, text: str) -> Path:
    """Return the file of a row's media; raises a MediaError for media that are not files."""
    place = folder.whole(text)
    if is_remote(place):
        raise UnsupportedMediaError("is at a URL; only files on this machine can be tagged")
    file = Path(place)
    if file.is_file():
        return file
    if exists(place) and INSIDE in place:
        raise UnsupportedMediaError("is inside another file; only files can be tagged")
    raise MediaNotFoundError("no such file; name its folder: --root FOLDER")
