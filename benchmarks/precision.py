"""Compare the verdicts of each number format and weight format with those of float32.

    python benchmarks/precision.py
    python benchmarks/precision.py --model M --pairs pairs.jsonl

By default LibreHPS-Tiny on 768 rendered pictures: all 4,224 pairs of one prompt. With `--pairs`,
the pairs of a file as `librehps evaluate` reads it, and, where it has human preferences, how often
each mode agrees with them. Prints a Markdown table; a mode that is not installed is left out, with
the reason below the table.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from librehps import LibreHPS
from librehps.errors import LibreHPSError
from librehps.preferences.media import items_of, keys_of
from librehps.preferences.read import read_unjudged
from librehps.types import Item

OUTPUTS = Path(__file__).parents[1] / "examples" / "tiny" / "outputs.py"
# (weights, dtype); the first is what the others are compared with.
MODES = (
    ("full", "float32"),
    ("full", "bfloat16"),
    ("int8", "float32"),
    ("int8", "bfloat16"),
    ("nf4", "float32"),
    ("nf4", "bfloat16"),
)
HEADINGS = (
    *("weights", "dtype", "mu moved: median / 99 % / most", "mean moved: most"),
    *("winners changed", "largest gap", "by batch size: mu moved: most", "winners changed"),
)


@dataclass(frozen=True)
class Pairs:
    """Items, and pairs of their indices; human[i] is P(a is better), NaN where unknown."""

    items: list[Item]
    index: np.ndarray
    human: np.ndarray


@dataclass(frozen=True)
class Scored:
    """The mu and the mean on `overall` of each item, NaN where it has no score."""

    mu: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class Flips:
    """The pairs whose winner changes: their number, and the largest gap in mu among them."""

    count: int
    pairs: int
    largest_gap: float


def flips(exact: np.ndarray, other: np.ndarray, index: np.ndarray) -> Flips:
    """Return how many pairs' winners differ between two lists of mu, and how close the pairs are.

    A gap is that of `exact`. Pairs with an unknown mu do not count.
    """
    a, b = exact[index].T, other[index].T
    known = ~np.isnan(a + b).any(0)
    before, after = (side[0, known] - side[1, known] for side in (a, b))
    changed = np.abs(before)[(before > 0) != (after > 0)]
    return Flips(len(changed), int(known.sum()), float(changed.max(initial=0.0)))


def accuracy(mu: np.ndarray, pairs: Pairs) -> float:
    """Return the share of pairs where mu and people prefer the same side, without people's ties."""
    gap = mu[pairs.index[:, 0]] - mu[pairs.index[:, 1]]
    decided = ~np.isnan(gap + pairs.human) & (pairs.human != 0.5)
    return float(((gap > 0) == (pairs.human > 0.5))[decided].mean())


def rendered(folder: Path) -> Pairs:
    """Return 768 rendered pictures, and all pairs of one prompt."""
    subprocess.run([sys.executable, OUTPUTS, folder], check=True, stdout=subprocess.DEVNULL)
    files = sorted(folder.rglob("*.png"))
    prompts = [file.with_suffix(".txt").read_text().strip() for file in files]
    items = [Item(str(f), f, p) for f, p in zip(files, prompts, strict=True)]
    same = [(i, j) for i, j in combinations(range(len(items)), 2) if prompts[i] == prompts[j]]
    return Pairs(items, np.array(same), np.full(len(same), np.nan))


def read_pairs(file: Path, root: Path | None) -> Pairs:
    """Return the media of a file of pairs as items, and its pairs."""
    read = read_unjudged(file, root=root)
    items = items_of(read)
    at = {key: index for index, key in enumerate(items)}
    index = np.array([[at[key] for key in keys_of(pair)] for pair in read])
    human = np.array([pair.preference.get("overall", np.nan) for pair in read])
    return Pairs(list(items.values()), index, human)


def load(model: str, weights: str, dtype: str) -> LibreHPS:
    return LibreHPS.from_pretrained(model, dtype=dtype, weights=weights)


def score(scorer: LibreHPS, items: list[Item], batch_size: int | None = None) -> Scored:
    values = np.full((2, len(items)), np.nan)
    for at, row in enumerate(scorer.score_items(items, batch_size)):
        if row.score is not None:
            values[:, at] = row.score.overall.raw_mean, row.score.overall.mean
    return Scored(*values)


def row(
    weights: str, dtype: str, exact: Scored, here: Scored, one: Scored, pairs: Pairs
) -> list[str]:
    """Return a mode's cells; `here` are its scores, `one` its scores in batches of one."""
    moved = np.nanquantile(abs(here.mu - exact.mu), (0.5, 0.99, 1.0))
    changed, within = (flips(s.mu, o.mu, pairs.index) for s, o in ((exact, here), (here, one)))
    cells = [
        *(weights, dtype, " / ".join(f"{value:.3f}" for value in moved)),
        f"{np.nanmax(abs(here.mean - exact.mean)):.3f}",
        f"{changed.count} of {changed.pairs} ({changed.count / changed.pairs:.2%})",
        *(f"{changed.largest_gap:.3f}", f"{np.nanmax(abs(here.mu - one.mu)):.4f}"),
        str(within.count),
    ]
    return [*cells, f"{accuracy(here.mu, pairs):.2%}"] if has_choices(pairs) else cells


def has_choices(pairs: Pairs) -> bool:
    return bool((~np.isnan(pairs.human) & (pairs.human != 0.5)).any())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(model: str, pairs: Pairs) -> str:
    """Return the table of all modes that can be loaded, and below it why others cannot."""
    rows, notes, exact = [], [], None
    for weights, dtype in MODES:
        try:
            scorer = load(model, weights, dtype)
        except LibreHPSError as error:
            notes.append(f"{weights}, {dtype}: not measured: {error}")
            continue
        here, one = score(scorer, pairs.items), score(scorer, pairs.items, 1)
        exact = exact or here
        rows.append(row(weights, dtype, exact, here, one, pairs))
        print(".", end="", file=sys.stderr, flush=True)
    if exact is None:
        raise SystemExit("\n".join(notes))
    if missing := int(np.isnan(exact.mu).sum()):
        notes.append(
            f"{missing} of {len(pairs.items)} media have no score; their pairs do not count"
        )
    headings = [*HEADINGS, *(["accuracy"] if has_choices(pairs) else [])]
    return "\n".join([table(headings, rows), "", *notes])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pairs", type=Path, help="a file of pairs, as `evaluate` reads it")
    parser.add_argument("--root", type=Path, help="folder of its media, by default the file's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.pairs is None:
            pairs = rendered(Path(folder))
        else:
            pairs = read_pairs(arguments.pairs, arguments.root)
        print(measure(arguments.model, pairs))


if __name__ == "__main__":
    main()
