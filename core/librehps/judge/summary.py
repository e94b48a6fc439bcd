"""Sum up a file of judgements: counts, agreement, and the commands that it suffices for."""

from collections.abc import Sequence
from math import sqrt

from librehps.evaluate.calibration import MIN_FIT_PAIRS, is_fitted
from librehps.files import counted
from librehps.judge.agreement import between_raters, within_raters
from librehps.judge.judgements import Judgement

# The share of pairs on which score and people agree is near 0.75 for good models.
ACCURACY, WIDE, NARROW = 0.75, 0.10, 0.05
HELD_OUT_SHARE = 0.1
# Of this many held-out pairs, the share of right ones is known to about 0.1, so that `train` can
# tell a checkpoint that learned from one that did not.
MIN_HELD_OUT_PAIRS = 100


def half_width(pairs: int) -> float:
    """Return half the width of the 95 % interval of an accuracy near 0.75 from so many pairs."""
    return 1.96 * sqrt(ACCURACY * (1 - ACCURACY) / pairs)


def pairs_for(width: float) -> int:
    """Return the number of pairs whose accuracy has an interval of half this width."""
    return round((1.96 / width) ** 2 * ACCURACY * (1 - ACCURACY) / 10) * 10


def summarise(rows: Sequence[Judgement], axes: Sequence[str]) -> list[str]:
    """Return lines on all judgements of a file."""
    first = [row for row in rows if not row.is_repeat and not row.is_skipped]
    repeats = sum(row.is_repeat and not row.is_skipped for row in rows)
    raters = len({row.rater for row in rows})
    distinct = len({row.index for row in first})
    lines = [
        f"{counted(distinct, 'pair')} with {counted(len(first), 'judgement')} of "
        f"{counted(raters, 'rater')}, {repeats} judged again, "
        f"{sum(row.is_skipped for row in rows)} skipped"
    ]
    for axis in axes:
        ties = sum(row.answers[axis] == "tie" for row in first)
        lines.append(f"{axis}: {counted(ties, 'tie')}")
        lines.append(f"{axis}, raters with themselves: {within_raters(rows, axis).text()}")
        if raters > 1:
            lines.append(f"{axis}, raters with each other: {between_raters(rows, axis).text()}")
    return lines + _worth(first, axes[0])


def _worth(first: Sequence[Judgement], axis: str) -> list[str]:
    """Return what the pairs without ties suffice for, and how many more would be needed."""
    decided = [row for row in first if row.answers[axis] != "tie"]
    count, fitting = len(decided), sum(is_fitted("pairs", row.index) for row in decided)
    wide, narrow = pairs_for(WIDE), pairs_for(NARROW)
    now = f"now +-{100 * half_width(count):.0f} points, " if count else ""
    lines = [
        f"evaluate: {now}+-10 points from {wide} pairs, +-5 from {narrow} "
        f"(95 % interval of an accuracy near {100 * ACCURACY:.0f} %; {count} pairs without ties)",
        f"calibrate: {fitting} of at least {MIN_FIT_PAIRS} pairs to fit on, a tenth of all: from "
        f"about {10 * MIN_FIT_PAIRS} pairs",
        f"train: from about {round(MIN_HELD_OUT_PAIRS / HELD_OUT_SHARE)} pairs, whose held-out "
        f"tenth tells accuracies apart to +-{100 * half_width(MIN_HELD_OUT_PAIRS):.0f} points",
    ]
    if any(row.choice == "active" for row in first):
        lines.append(
            "These pairs were chosen where the winner is least certain: accuracy is lower than on "
            "a plain sample (--random)"
        )
    return lines
