"""Measure how often explanations name what is wrong with a rendered scene.

    python benchmarks/explain.py words --count 200 --seed fresh
    python benchmarks/explain.py regions --count 200 --seed fresh
    python benchmarks/explain.py frames --count 200 --seed fresh

words: scenes with one failed attribute, and scenes that match. The right word is the changed
colour or shape; of a lost thing its colour or its shape; of swapped places the relation. regions:
a torn shape, a ghost or a halo at a known place; the map's maximum must lie in the box of changed
pixels, grown by a tenth. Deletion covers the windows that cost most first; insertion uncovers them
first; both beside a random order. frames: the frame of a clip that flashes.
"""

import argparse
import json
import logging
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "tiny"))
from PIL import Image, ImageEnhance

import drawing
import scenes
from librehps import LibreHPS
from librehps.explain.regions import WINDOW_CELLS, covered, explain_regions, windows_of
from librehps.explain.subject import Subject, subject_of
from librehps.types import Item

SIDES = (128, 160, 192, 256, 320)
UNSEEN_SHARE = 0.2
WRONG, MATCH = ("colour", "shape", "lose", "swap"), "match"
AXIS = {"torn": "coherence", "ghost": "style", "halo": "style"}
# Change of a pixel, summed over the channels, from which it belongs to the defect.
CHANGED, GROWN = 24, 0.1
CURVE_STEPS = 8
# A defect is seen if the model scores the picture without it this much higher.
SEEN_MU = 0.5


@dataclass(frozen=True)
class Untrue:
    """A picture, its prompt, and the words that it fails."""

    picture: Image.Image
    prompt: str
    wrong: frozenset[str]


def untrue(seed: str, kind: str, index: int) -> Untrue:
    """Render a scene with one failed attribute, or with none."""
    rng = random.Random(f"{seed} {kind} {index}")
    unseen = rng.random() < UNSEEN_SHARE
    caption = scenes.random_caption(rng, unseen)
    while kind in ("lose", "swap") and caption.relation is None:
        caption = scenes.random_caption(rng, unseen)
    scene = scenes.compose(caption, rng)
    things, wrong = scene.things, frozenset()
    if kind != MATCH:
        things = _changed(scene, kind, rng, unseen)
        wrong = _wrong(kind, scene.things, things, caption)
    shown = replace(scene, things=things)
    return Untrue(drawing.draw(shown, rng.choice(SIDES)), caption.text, wrong)


def _changed(scene, kind, rng, unseen):
    while True:
        things = scenes._changed(scene.things, (kind,), rng)
        if unseen or scenes.UNSEEN.isdisjoint((t.colour, t.shape) for t in things):
            return things


def _wrong(kind, before, after, caption) -> frozenset[str]:
    if kind == "swap":
        return frozenset([caption.relation])
    if kind == "lose":
        [lost] = [thing for thing in before if thing not in after]
        return frozenset([lost.colour, lost.shape])
    [changed] = [one for one, two in zip(before, after, strict=True) if one != two]
    return frozenset([changed.colour if kind == "colour" else changed.shape])


def measure_words(scorer: LibreHPS, seed: str, count: int, kinds: list[str]) -> Iterator[dict]:
    """Yield a row per kind: how often the first word is right, and how often any is blamed."""
    for kind in kinds or [*WRONG, MATCH]:
        rows, forwards, start = [], 0, time.process_time()
        for index in range(count):
            case = untrue(seed, kind, index)
            found = scorer.explain_image(case.picture, case.prompt, by=["words"])
            first = max(found.words.words, key=lambda word: word.blame)
            rows.append((first.text in case.wrong, bool(found.words.blamed), found.words.mu,
                         first.blame, len(found.words.words)))  # fmt: skip
            forwards += found.forwards
        right, blamed, mu, blame, words = (np.array(column) for column in zip(*rows, strict=True))
        yield {
            "kind": kind,
            "count": count,
            "first_is_right": None if kind == MATCH else round(float(right.mean()), 3),
            "chance": None if kind == MATCH else round(float((len(case.wrong) / words).mean()), 3),
            "any_blamed": round(float(blamed.mean()), 3),
            "mu_quantiles": np.quantile(mu, [0.05, 0.5, 0.95]).round(2).tolist(),
            "blame_quantiles": np.quantile(blame, [0.05, 0.5, 0.9, 0.95]).round(2).tolist(),
            **_cost(forwards, start, count),
        }


def _cost(forwards: int, start: float, count: int) -> dict:
    seconds = (time.process_time() - start) / count
    return {"forwards": round(forwards / count, 1), "cpu_s": round(seconds, 3)}


@dataclass(frozen=True)
class Defective:
    """A picture with a defect, the same without, its prompt, and the defect's box in shares."""

    clean: Image.Image
    picture: Image.Image
    prompt: str
    box: tuple[float, float, float, float]

    def holds(self, x: float, y: float) -> bool:
        """Return whether a point lies in the box, grown by GROWN of its sides."""
        left, top, right, bottom = self.box
        wide, high = GROWN * (right - left), GROWN * (bottom - top)
        return left - wide <= x <= right + wide and top - high <= y <= bottom + high

    @property
    def area(self) -> float:
        """The share of the picture that the grown box covers."""
        left, top, right, bottom = self.box
        wide, high = GROWN * (right - left), GROWN * (bottom - top)
        sides = (
            min(1, right + wide) - max(0, left - wide),
            min(1, bottom + high) - max(0, top - high),
        )
        return sides[0] * sides[1]


def defective(seed: str, kind: str, index: object) -> Defective:
    """Render a scene with one shape torn, or with a ghost or halo around one shape alone."""
    rng = random.Random(f"{seed} {kind} {index}")
    caption = scenes.random_caption(rng, rng.random() < UNSEEN_SHARE)
    scene, side = scenes.compose(caption, rng), rng.choice(SIDES)
    clean, severity = drawing.draw(scene, side), rng.uniform(0.4, 1)
    if kind == "torn":
        picture = drawing.tear(clean, replace(scene, things=scene.things[:1]), severity, rng)
    else:
        thing = rng.choice(scene.things)
        reach = 1.5 * thing.radius
        edges = (thing.x - reach, thing.y - reach, thing.x + reach, thing.y + reach)
        box = tuple(round(min(1, max(0, edge)) * side) for edge in edges)
        picture = clean.copy()
        picture.paste(drawing.spoil(clean, severity, kind, rng).crop(box), box)
    change = np.abs(np.asarray(picture, int) - np.asarray(clean, int)).sum(-1) > CHANGED
    if change.sum() < 20:
        return defective(seed, kind, f"{index} again")
    rows, columns = np.nonzero(change)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Defective(clean, picture, caption.text, tuple(float(edge) / side for edge in found))


def measure_regions(scorer: LibreHPS, seed: str, count: int, kinds: list[str]) -> Iterator[dict]:
    """Yield a row per kind: how often the map's maximum lies in the box, and the curves."""
    for kind in kinds or [*AXIS]:
        axis, hits, areas, gaps, curves = AXIS[kind], [], [], [], []
        spread, windows = [], []
        forwards, seconds = 0, 0.0
        for index in range(count):
            case = defective(seed, kind, index)
            subject = _subject(scorer, case.picture, case.prompt)
            start = time.process_time()
            found = explain_regions(subject, axis)
            seconds += time.process_time() - start
            forwards += subject.forwards
            hits.append(case.holds(*found.peak))
            spread.append(case.holds(*_peak_of_means(found.costs)))
            windows.append(case.holds(*_peak_of_windows(found.costs)))
            areas.append(case.area)
            clean = _subject(scorer, case.clean, case.prompt).with_pixels_mu(axis)
            gaps.append(clean - found.mu)
            if index % 4 == 0:
                curves.append(_curves(subject, axis, found.costs, random.Random(index)))
        means = {name: round(float(np.mean([c[name] for c in curves])), 3) for name in curves[0]}
        seen = np.array(gaps) > SEEN_MU
        yield {
            "kind": kind,
            "axis": axis,
            "count": count,
            "in_box": round(float(np.mean(hits)), 3),
            "box_area": round(float(np.mean(areas)), 3),
            "mu_lost": round(float(np.mean(gaps)), 2),
            "seen": round(float(seen.mean()), 3),
            "in_box_where_seen": round(float(np.mean(np.array(hits)[seen])), 3),
            "window_in_box": round(float(np.mean(windows)), 3),
            "means_in_box": round(float(np.mean(spread)), 3),
            **means,
            "forwards": round(forwards / count, 1),
            "cpu_s": round(seconds / count, 3),
        }


def _peak_of_windows(costs) -> tuple[float, float]:
    """Return the middle of the window that costs most."""
    row, column = np.unravel_index(np.argmax(costs), np.shape(costs))
    high, wide = (count + WINDOW_CELLS - 1 for count in np.shape(costs))
    return (column + WINDOW_CELLS / 2) / wide, (row + WINDOW_CELLS / 2) / high


def _peak_of_means(costs) -> tuple[float, float]:
    """Return where the mean cost of the windows over a cell is largest: captum's Occlusion."""
    sides = np.array(costs).shape
    total, counts = (np.zeros([n + WINDOW_CELLS - 1 for n in sides]) for _ in range(2))
    for (row, column), cost in np.ndenumerate(costs):
        cells = slice(row, row + WINDOW_CELLS), slice(column, column + WINDOW_CELLS)
        total[cells] += cost
        counts[cells] += 1
    means = total / counts
    y, x = (np.argwhere(means >= means.max() - 1e-6).mean(0) + 0.5) / means.shape
    return x, y


class MeasuredSubject(Subject):
    def with_pixels_mu(self, axis: str) -> float:
        return self.with_pixels([self.pixels])[0].mu[self.axis(axis)]


def _subject(scorer: LibreHPS, media, prompt: str, kind="image") -> MeasuredSubject:
    engine = scorer._engine(scorer._decoder(), None)
    return MeasuredSubject(**vars(subject_of(Item("x", media, prompt, kind), engine)))


def _curves(subject, axis, costs, rng) -> dict:
    """Return mean mu while windows are covered (deletion) or uncovered (insertion).

    A good map raises mu early in deletion, because the costly windows go first.
    """
    height, width = subject.pixels.shape[-2:]
    windows = list(windows_of(height, width, WINDOW_CELLS))
    cost = [costs[window.row][window.column] for window in windows]
    ordered = [w for _, w in sorted(zip(cost, windows, strict=True), key=lambda pair: -pair[0])]
    shuffled = rng.sample(windows, len(windows))
    at, result = subject.axis(axis), {}
    for name, order in (("", ordered), ("_random", shuffled)):
        deleted = _steps(subject.pixels, order)
        kept = _steps(subject.pixels, order[::-1])[::-1]
        for curve, variants in (("deletion", deleted), ("insertion", kept)):
            scores = [row.mu[at] for row in subject.with_pixels(variants)]
            result[f"{curve}{name}"] = float(np.mean(scores[: CURVE_STEPS // 2]))
    return result


def _steps(pixels, order) -> list:
    variants, size = [], max(1, len(order) // CURVE_STEPS)
    for at, window in enumerate(order):
        pixels = covered(pixels, window)
        if at % size == size - 1:
            variants.append(pixels)
    return variants


def measure_frames(scorer: LibreHPS, seed: str, count: int, kinds: list[str]) -> Iterator[dict]:
    """Yield how often the frame that flashes costs most, or that jumps."""
    for kind in kinds or ["flash", "jump"]:
        hits, forwards, start = [], 0, time.process_time()
        for index in range(count):
            rng = random.Random(f"{seed} {kind} {index}")
            scene = scenes.compose(caption := scenes.random_caption(rng), rng)
            frames = drawing.render_clip(scene, drawing.Defects(), rng, 128, 4)
            at = rng.randrange(4)
            if kind == "flash":
                frames[at] = ImageEnhance.Brightness(frames[at]).enhance(rng.choice((0.65, 1.35)))
            else:
                moved = [replace(t, x=t.x + 0.1, y=t.y - 0.1) for t in scene.things]
                frames[at] = drawing.draw(replace(scene, things=tuple(moved)), 128)
            found = scorer.explain_video(frames, caption.text, by=["frames"])
            hits.append(found.frames.peak == at)
            forwards += found.forwards
        yield {"kind": kind, "count": count, "first_is_right": round(float(np.mean(hits)), 3),
               "chance": 0.25, **_cost(forwards, start, count)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("words", "regions", "frames"))
    parser.add_argument("kinds", nargs="*", help="kinds of scenes (default: all)")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", default="fresh")
    given = parser.parse_args()
    logging.getLogger("librehps").setLevel(logging.ERROR)
    scorer = LibreHPS.from_pretrained("tiny", dtype="float32")
    measure = globals()[f"measure_{given.what}"]
    for row in measure(scorer, given.seed, given.count, given.kinds):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
