"""Agreement of raters with themselves and with each other: Krippendorff's alpha."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from librehps.files import counted
from librehps.judge.judgements import Judgement

# A tie lies half way between the sides.
POSITIONS = {"a": 1.0, "tie": 0.5, "b": 0.0}
# From fewer pairs, alpha may be off by more than 0.3.
FEW_PAIRS = 20
# (rater, pair, position) of an answer.
Label = tuple[str, str, float]


@dataclass(frozen=True)
class Agreement:
    """How far answers on the same pairs agree: `alpha` is 1 for always, 0 for as by chance.

    `pairs` have two or more answers; `same` is the share of them whose answers are all the same.
    `alpha` is None without such pairs.
    """

    pairs: int
    same: float | None
    alpha: float | None

    def text(self) -> str:
        """Return the figures as part of a sentence."""
        if self.same is None or self.alpha is None:
            return "no pair was judged twice"
        few = ", too few to rely on" if self.pairs < FEW_PAIRS else ""
        same = f"the same answer on {100 * self.same:.0f} % of {counted(self.pairs, 'pair')}"
        return f"alpha {self.alpha:.2f}, {same}{few}"


def between_raters(rows: Sequence[Judgement], axis: str) -> Agreement:
    """Return the agreement of raters with each other, on the pairs that several have judged."""
    return _agreement(
        (row.rater, str(row.index), POSITIONS[row.answers[axis]])
        for row in rows
        if axis in row.answers and not row.is_repeat
    )


def within_raters(rows: Sequence[Judgement], axis: str) -> Agreement:
    """Return the agreement of raters with themselves, on the pairs that they were asked twice."""
    return _agreement(
        ("again" if row.is_repeat else "first", f"{row.index}/{row.rater}",
         POSITIONS[row.answers[axis]])
        for row in rows
        if axis in row.answers
    )  # fmt: skip


def _agreement(labels: Iterable[Label]) -> Agreement:
    """Return the agreement of coders on the units that two or more have labelled."""
    units: dict[str, list[Label]] = {}
    for label in labels:
        units.setdefault(label[1], []).append(label)
    several = [found for found in units.values() if len(found) > 1]
    if not several:
        return Agreement(0, None, None)
    same = sum(len({position for *_, position in found}) == 1 for found in several)
    return Agreement(len(several), same / len(several), _alpha(several))


def _alpha(units: Sequence[Sequence[Label]]) -> float:
    """Return Krippendorff's alpha for values with distances, squared."""
    # Takes a second to import.
    from nltk.metrics.agreement import AnnotationTask

    labels = [label for found in units for label in found]
    if len({position for *_, position in labels}) == 1:
        return 1.0
    return float(AnnotationTask(labels, distance=_squared).alpha())


def _squared(one: Any, other: Any) -> float:
    return float((one - other) ** 2)
