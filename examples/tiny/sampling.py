"""Which defects: at random for training, and by class of severity for held-out pairs."""

import random

from drawing import AXES, MOST_CHANGES, MOTIONS, STYLES, Defects

# Thirds of the range of severities.
CLASSES = ("mild", "medium", "strong")


def random_defects(rng: random.Random, clips: bool) -> Defects:
    """Severities on one or two axes, or on none."""
    count = rng.choices((0, 1, 2), (0.25, 0.5, 0.25))[0]
    axes = rng.sample(axes_of(clips), count)
    # Alignment has the most kinds of defect, and is the hardest to learn.
    if count and "alignment" not in axes and rng.random() < 0.25:
        axes[0] = "alignment"
    severity = {axis: _severity(axis, rng) for axis in axes}
    return Defects(severity, rng.choice(STYLES), rng.choice(MOTIONS))


def ranked_defects(rng: random.Random, clips: bool, grade: str) -> tuple[Defects, Defects]:
    """(better, worse): worse on one axis or two by a gap of that class, and equal on the rest.

    One of the two is worse wherever they differ, so that no weighting of axes decides the label.
    """
    low, high = ((CLASSES.index(grade) + at) / 3 for at in (0, 1))
    differ = rng.sample(axes_of(clips), rng.choices((1, 2), (0.7, 0.3))[0])
    better, worse = {}, {}
    for axis in differ:
        if axis == "alignment":
            gap, step = (1 + CLASSES.index(grade)) / MOST_CHANGES, 1 / MOST_CHANGES
            rest = rng.randrange(round((1 - gap) * MOST_CHANGES) + 1) * step
        else:
            gap = max(0.08, rng.uniform(low, high))
            rest = rng.uniform(0.08, 1 - gap) if gap < 0.92 else 0.0
        start = rest if rng.random() < 0.4 else 0.0
        if start:
            better[axis] = start
        worse[axis] = min(1.0, start + gap)
    for axis in axes_of(clips):
        if axis not in differ and rng.random() < 0.15:
            better[axis] = worse[axis] = _severity(axis, rng)
    style, motion = rng.choice(STYLES), rng.choice(MOTIONS)
    return Defects(better, style, motion), Defects(worse, style, motion)


def axes_of(clips: bool) -> list[str]:
    return [axis for axis in AXES if clips or axis != "temporal"]


def _severity(axis: str, rng: random.Random) -> float:
    if axis == "alignment":
        return rng.randint(1, MOST_CHANGES) / MOST_CHANGES
    return rng.uniform(0.05, 1.0)
