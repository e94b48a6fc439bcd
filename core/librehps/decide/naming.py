"""Names of copied, linked or moved media: own name, rank or score; folders by quantile."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import PurePosixPath

from librehps.choices import NameBy, check_choice
from librehps.decide.names import names_inside
from librehps.decide.quantiles import ranks_within
from librehps.errors import UsageError
from librehps.scores.score_table import ScoreTable
from librehps.scores.select import number_column

MAX_BUCKETS = 100
MIN_RANK_DIGITS = 4
# Folder of rows that have no score, and so no quantile.
UNSCORED = "unscored"


@dataclass(frozen=True)
class Naming:
    """The rule that makes file names.

    `name`: original, or with the rank (`0001_a.png`) or the score (`0.731_a.png`) in front.
    `bucket`: put files into folders 1 (worst) to N (best) by quantile. Rank and quantile are `by`
    an axis or a column, within each value of `per` (default: within the prompt).
    """

    name: NameBy = "original"
    bucket: int | None = None
    by: str | None = None
    per: str | None = None

    def __post_init__(self) -> None:
        check_choice(self.name, NameBy, "name")
        if self.bucket is not None and not 2 <= self.bucket <= MAX_BUCKETS:
            raise UsageError(
                f"bucket: expected a number from 2 to {MAX_BUCKETS}, got {self.bucket}"
            )

    def names(self, scores: ScoreTable, originals: Sequence[str]) -> list[str]:
        """Return the file name of each row of the table, a path below the folder of the copies."""
        names = list(originals)
        ranks = None
        if self.bucket is not None or self.name == "rank":
            ranks = ranks_within(scores, self.by, self.per)
        if ranks is not None and self.name == "rank":
            names = with_ranks(names, ranks.rank.tolist())
        elif self.name == "score":
            values = number_column(scores.source, self.by or "overall").to_pylist()
            names = with_scores(names, values)
        names = names_inside(names)
        if ranks is None or self.bucket is None:
            return names
        folders = ranks.quantiles(self.bucket).tolist()
        return [f"{folder or UNSCORED}/{name}" for folder, name in zip(folders, names, strict=True)]


def with_ranks(names: Sequence[str], ranks: Sequence[int]) -> list[str]:
    """Return the names with their rank in front: `x/0001_a.png`; 0 is no rank."""
    digits = max(MIN_RANK_DIGITS, len(str(max(ranks, default=0))))
    texts = [f"{rank:0{digits}d}" if rank else None for rank in ranks]
    return [_in_front(text, name) for text, name in zip(texts, names, strict=True)]


def with_scores(names: Sequence[str], scores: Sequence[float | None]) -> list[str]:
    """Return the names with their score in front: `x/0.731_a.png`."""
    texts = [_score_text(score) for score in scores]
    return [_in_front(text, name) for text, name in zip(texts, names, strict=True)]


def _score_text(score: float | None) -> str | None:
    return None if score is None or not isfinite(score) else f"{score:.3f}"


def _in_front(text: str | None, name: str) -> str:
    path = PurePosixPath(name)
    # An id that is not the name of a file gets a name later.
    if text is None or path.name in ("", ".."):
        return name
    folder, slash, _ = name.rpartition("/")
    return f"{folder}{slash}{text}_{path.name}"
