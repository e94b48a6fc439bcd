"""The progress of a run: rows by status, errors by type, and the distribution of each axis."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from librehps.scores.scored_rows import MEAN, ScoredRows
from librehps.types import AxisColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from librehps.engine.engine import Work
    from librehps.runs.job import Counts
    from librehps.types import ScoredRow

HISTOGRAM_BINS = 1000
FRESH_ROWS = 1024
QUANTILES = (0.05, 0.5, 0.95)


class Distribution(NamedTuple):
    """The mean and quantiles of an axis over the rows of this call, exact to 0.0005."""

    mean: float
    low: float
    median: float
    high: float


@dataclass
class RunProgress:
    """The number of rows so far, including those of an earlier call; `total` is None if unknown.

    `ok`, `failed` and `errors` count the whole output; `remarks`, the rows whose media are special,
    `distributions` and `work` this call only.
    """

    total: int | None
    work: "Work"
    ok: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    _histograms: "dict[str, NDArray[np.int64]]" = field(default_factory=dict)
    # Rows that are not in the histograms yet.
    _fresh: list[AxisColumns] = field(default_factory=list)

    @classmethod
    def after(cls, kept: "Counts", total: int, work: "Work") -> "RunProgress":
        """Return the progress at the start of a resumed run, which keeps `kept` rows."""
        return cls(total, work, kept.ok, kept.failed, Counter(kept.errors))

    @property
    def done(self) -> int:
        """The number of rows so far, ok and failed."""
        return self.ok + self.failed

    @property
    def rows_per_s(self) -> float:
        """The rows per second that this call scored."""
        return self.work.rows / max(self.work.seconds, 1e-9)

    def add(self, row: "ScoredRow") -> None:
        """Count a scored or failed row."""
        if row.score is None:
            self.failed += 1
            self.errors[type(row.error).__name__] += 1
            return
        self.ok += 1
        if row.remarks:
            self.remarks.update(row.remarks)
        self._fresh.append(AxisColumns.of(row.score.axes))
        if len(self._fresh) == FRESH_ROWS:
            self._count_fresh()

    def add_all(self, rows: ScoredRows) -> None:
        """Count the rows of a window."""
        failed = [type(error).__name__ for error in rows.errors if error is not None]
        self.failed += len(failed)
        self.errors.update(failed)
        self.ok += len(rows) - len(failed)
        for remarks in filter(None, rows.remarks):
            self.remarks.update(remarks)
        for axis, means in zip(rows.axes, rows.numbers[MEAN], strict=True):
            self._count(axis, means[means == means])

    def merge(self, other: "RunProgress") -> None:
        """Count the rows that another process has counted, and add its work."""
        self.ok += other.ok
        self.failed += other.failed
        self.errors.update(other.errors)
        self.remarks.update(other.remarks)
        self.work.add(other.work.rows, other.work.forwards, other.work.forward)
        other._count_fresh()
        for axis, bins in other._histograms.items():
            self._add_bins(axis, bins)

    def _count_fresh(self) -> None:
        """Count the means of the latest rows, many at a time."""
        while self._fresh:
            names = self._fresh[0].names
            means = [one.means for one in self._fresh if one.names == names]
            self._fresh = [one for one in self._fresh if one.names != names]
            for axis, column in zip(names, zip(*means, strict=True), strict=True):
                self._count(axis, np.array(column))

    def _count(self, axis: str, means: "NDArray[np.float64]") -> None:
        if len(means):
            places = np.minimum((means * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
            self._add_bins(axis, np.bincount(places, minlength=HISTOGRAM_BINS))

    def _add_bins(self, axis: str, bins: "NDArray[np.int64]") -> None:
        before = self._histograms.get(axis)
        self._histograms[axis] = bins if before is None else before + bins

    def distributions(self) -> dict[str, Distribution]:
        """Return the distribution of each axis that was scored in this call."""
        self._count_fresh()
        return {axis: _distribution(bins.tolist()) for axis, bins in self._histograms.items()}


def _distribution(bins: Sequence[int]) -> Distribution:
    count = sum(bins)
    mean = sum((at + 0.5) / HISTOGRAM_BINS * n for at, n in enumerate(bins)) / count
    return Distribution(mean, *(_quantile(bins, share * count) for share in QUANTILES))


def _quantile(bins: Sequence[int], rank: float) -> float:
    below = 0
    for at, number in enumerate(bins):
        below += number
        if below >= rank:
            return (at + 0.5) / HISTOGRAM_BINS
    return 1.0
