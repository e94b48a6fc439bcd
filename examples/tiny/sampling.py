"""Choose defects: at random for training, by severity class for held-out pairs."""

import random

from drawing import AXES, MOST_CHANGES, MOTIONS, STYLES, Defects

# Thirds of the range of severities.
CLASSES = ("mild", "medium", "strong")
LEAST = 0.05


def random_defects(rng: random.Random, clips: bool, favoured: str | None = None) -> Defects:
    """Severities on one or two axes, or on none; half of those with any have the favoured one."""
    axes = rng.sample(axes_of(clips), rng.choices((0, 1, 2), (0.25, 0.5, 0.25))[0])
    if axes and favoured is not None and favoured not in axes and rng.random() < 0.5:
        axes[0] = favoured
    severity = {axis: _severity(axis, rng) for axis in axes}
    return Defects(severity, rng.choice(STYLES), rng.choice(MOTIONS))


def ranked_defects(rng: random.Random, clips: bool, grade: str) -> tuple[Defects, Defects]:
    """(better, worse): worse has defects of that class on one axis or two; the rest is equal.

    One of the two is worse wherever they differ, so that no weighting of axes decides the label.
    """
    differ = rng.sample(axes_of(clips), rng.choices((1, 2), (0.7, 0.3))[0])
    better, worse = {}, {}
    for axis in axes_of(clips):
        if axis in differ:
            worse[axis] = _graded(axis, grade, rng)
        elif rng.random() < 0.15:
            better[axis] = worse[axis] = _severity(axis, rng)
    style, motion = rng.choice(STYLES), rng.choice(MOTIONS)
    return Defects(better, style, motion), Defects(worse, style, motion)


def _graded(axis: str, grade: str, rng: random.Random) -> float:
    at = CLASSES.index(grade)
    if axis == "alignment":
        return (1 + at) / MOST_CHANGES
    return max(LEAST, rng.uniform(at / 3, (at + 1) / 3))


def axes_of(clips: bool) -> list[str]:
    return [axis for axis in AXES if clips or axis != "temporal"]


def _severity(axis: str, rng: random.Random) -> float:
    if axis == "alignment":
        return rng.randint(1, MOST_CHANGES) / MOST_CHANGES
    return rng.uniform(LEAST, 1.0)
