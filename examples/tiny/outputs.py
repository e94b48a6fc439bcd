"""Render what three pretended generators make of some prompts, to try the commands on.

    python examples/tiny/outputs.py outputs

Writes OUT/GENERATOR/NN_SEED.png with its prompt beside it as .txt, OUT/manifest.csv with a row for
each, and OUT/pairs.jsonl with which of two is better, as the renderer knows it.
"""

import argparse
import csv
import json
import random
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import drawing
import scenes

SEED = "outputs"
SIDE = 160
# How often a picture has a defect on each axis.
GENERATORS = {
    "aurora": {"alignment": 0.25, "coherence": 0.15, "style": 0.1},
    "borealis": {"alignment": 0.3, "coherence": 0.2, "style": 0.5},
    "cirrus": {"alignment": 0.7, "coherence": 0.35, "style": 0.15},
}


@dataclass(frozen=True)
class Picture:
    """A picture's path below the folder, and how bad it is known to be (0 without defects)."""

    media: str
    prompt: str
    generator: str
    seed: int
    badness: float


def render_all(folder: Path, prompts: int, samples: int) -> list[Picture]:
    """Every generator's samples of every prompt."""
    made = []
    for index, caption in enumerate(_captions(prompts)):
        for generator, chances in GENERATORS.items():
            (folder / generator).mkdir(parents=True, exist_ok=True)
            for seed in range(samples):
                rng = random.Random(f"{SEED} {index} {generator} {seed}")
                defects = _defects(chances, rng)
                media = f"{generator}/{index:02d}_{seed}.png"
                scene, _ = drawing.show(caption, defects, rng)
                drawing.render(scene, defects, rng, SIDE).save(folder / media)
                (folder / media).with_suffix(".txt").write_text(f"{caption.text}\n")
                made.append(Picture(media, caption.text, generator, seed, defects.badness))
    return made


def pairs_of(made: list[Picture]) -> list[dict[str, Any]]:
    """Two pictures of one prompt and seed, where they differ in how bad they are."""
    rows = []
    for one, two in combinations(made, 2):
        if (one.prompt, one.seed) == (two.prompt, two.seed) and one.badness != two.badness:
            rows.append(
                {
                    "prompt": one.prompt,
                    "media_a": one.media,
                    "media_b": two.media,
                    "overall": "a" if one.badness < two.badness else "b",
                    "source": f"{one.generator}-{two.generator}",
                }
            )
    return rows


def _captions(count: int) -> list[scenes.Caption]:
    """Return `count` different captions."""
    rng, found = random.Random(SEED), dict[str, scenes.Caption]()
    while len(found) < count:
        caption = scenes.random_caption(rng)
        found.setdefault(caption.text, caption)
    return list(found.values())


def _defects(chances: dict[str, float], rng: random.Random) -> drawing.Defects:
    severity = {}
    for axis, chance in chances.items():
        if rng.random() < chance:
            level = rng.uniform(0.2, 1.0)
            steps = round(level * drawing.MOST_CHANGES)
            severity[axis] = max(1, steps) / drawing.MOST_CHANGES if axis == "alignment" else level
    return drawing.Defects(severity, rng.choice(drawing.STYLES), rng.choice(drawing.MOTIONS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    made = render_all(arguments.out, arguments.prompts, arguments.samples)
    with (arguments.out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("media", "prompt", "generator", "seed"))
        writer.writerows((p.media, p.prompt, p.generator, p.seed) for p in made)
    pairs = pairs_of(made)
    (arguments.out / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    print(f"{len(made)} pictures and {len(pairs)} pairs in {arguments.out}")


if __name__ == "__main__":
    main()
