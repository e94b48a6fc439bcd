"""Render held-out pairs: two benchmarks, `shapes` of stills and `motion` of clips.

    python examples/tiny/pairs.py --out runs/pairs

Writes OUT/shapes.jsonl and OUT/motion.jsonl for `librehps evaluate`. A third of the pairs is of
each class of severity, a fifth shows combinations that training never does.
"""

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import drawing
import sampling
import scenes
from files import write_clip
from model import FRAMES

BENCHMARKS = ("shapes", "motion")
SIDES = (128, 160, 192, 256, 320)
UNSEEN_SHARE = 0.2
# Of another kind than the seeds of training, so that no draw is shared.
SEED = "held-out"


def render_pair(folder: Path, benchmark: str, index: int) -> dict[str, Any]:
    """Render one pair's files; gives its row."""
    rng, clips = random.Random(f"{SEED} {benchmark} {index}"), benchmark == "motion"
    grade = sampling.CLASSES[index % 3]
    caption = scenes.random_caption(rng, rng.random() < UNSEEN_SHARE)
    ranked = sampling.ranked_defects(rng, clips, grade)
    a_is_better = rng.random() < 0.5
    names, changes = [], []
    for side, defects in zip("ab", ranked if a_is_better else ranked[::-1], strict=True):
        shown, changed = drawing.show(caption, defects, rng)
        changes.append(changed)
        name = f"{benchmark}/{index:05d}{side}.{'mp4' if clips else 'png'}"
        names.append(name)
        size = rng.choice(SIDES)
        if clips:
            write_clip(folder / name, drawing.render_clip(shown, defects, rng, size, FRAMES))
        else:
            drawing.render(shown, defects, rng, size).save(folder / name)
    gaps = {axis: _gap(ranked, axis) for axis in sampling.axes_of(clips)}
    won = float(a_is_better)
    return {
        "prompt": caption.text,
        "media_a": names[0],
        "media_b": names[1],
        "overall": won,
        **{axis: won if gap > 0 else 0.5 for axis, gap in gaps.items()},
        "benchmark": benchmark,
        "index": index,
        "severity": grade,
        "combination": "unseen" if caption.unseen else "seen",
        "defect": _defect(gaps, ranked[1], changes[a_is_better]),
    }


def _gap(ranked: tuple[drawing.Defects, drawing.Defects], axis: str) -> float:
    better, worse = ranked
    return worse.severity.get(axis, 0.0) - better.severity.get(axis, 0.0)


def _defect(gaps: dict[str, float], worse: drawing.Defects, changes: tuple[str, ...]) -> str:
    """Return the name of the defect that differs between the two sides of a pair."""
    differ = [axis for axis, gap in gaps.items() if gap > 0]
    if len(differ) > 1:
        return "two axes"
    kinds = {
        "alignment": changes[0] if len(changes) == 1 else "several changes",
        "coherence": "torn",
        "style": worse.style,
        "temporal": worse.motion,
    }
    return f"{differ[0]}: {kinds[differ[0]]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5600, help="pairs of each benchmark")
    parser.add_argument("--only", choices=BENCHMARKS, help="this benchmark alone")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    for benchmark in [arguments.only] if arguments.only else BENCHMARKS:
        (folder / benchmark).mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            render = partial(render_pair, folder, benchmark)
            rows = list(pool.map(render, range(arguments.count), chunksize=50))
        lines = [json.dumps(row) + "\n" for row in rows]
        (folder / f"{benchmark}.jsonl").write_text("".join(lines))
        print(f"{benchmark}: {len(rows)} pairs", flush=True)


if __name__ == "__main__":
    main()
