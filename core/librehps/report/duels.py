"""The prompts to show side by side: those on which one generator beats another by most."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from librehps.decide.bradley_terry import Floats as Doubles
from librehps.decide.generators import GeneratorTable
from librehps.decide.shared_prompts import share
from librehps.report.sample import Indices, top
from librehps.report.survey import Floats, floats_of
from librehps.scores.select import ok_rows

AXIS = "overall"
MAX_GENERATORS, PROMPTS_OF_A_PAIR, MAX_SAMPLES = 8, 3, 4


@dataclass(frozen=True)
class Duels:
    """The rows to show side by side, best samples first, and the duels among them.

    A duel is (best row of the winner, best row of the loser), with the gap of their mean mu under
    the prompt, largest first for each pair of generators.
    """

    rows: Indices
    pairs: list[tuple[int, int]]
    gaps: list[float]


def duels_of(table: Any, by: str, strongest: Sequence[str]) -> Duels:
    """Return the duels of the strongest generators under the prompts that all generators have."""
    rows = GeneratorTable(table, by)
    columns = [rows.generators.index(name) for name in strongest[:MAX_GENERATORS]]
    prompts, means = _means(rows, columns)
    found = [
        (int(prompts[at]), a, b, float(means[at, a] - means[at, b]))
        for a, b in permutations(range(len(columns)), 2)
        for at in top((means[:, a] - means[:, b]).astype(np.float32), PROMPTS_OF_A_PAIR)
        if means[at, a] > means[at, b]
    ]
    samples = _samples(table, rows, [prompt for prompt, *_ in found], columns)
    best = {key: chosen[0] for key, chosen in samples.items()}
    further = (row for nth in range(MAX_SAMPLES) for s in samples.values() for row in s[nth:][:1])
    return Duels(
        np.array(list(further), np.int64),
        [(best[prompt, columns[a]], best[prompt, columns[b]]) for prompt, a, b, _ in found],
        [gap for *_, gap in found],
    )


def _means(rows: GeneratorTable, columns: Sequence[int]) -> tuple[Any, Doubles]:
    """Return the shared prompts, and the mean mu of some generators under each."""
    count = len(rows.generators)
    shared = share(rows.scored(AXIS), count)
    sizes = shared.sizes.ravel()
    if not len(sizes):
        return shared.prompts, np.empty((0, len(columns)))
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    sums = np.add.reduceat(shared.mu, starts, dtype=np.float64)
    means: Doubles = (sums / sizes).reshape(-1, count)[:, columns]
    return shared.prompts, means


def _samples(
    table: Any, rows: GeneratorTable, prompts: Sequence[int], columns: Sequence[int]
) -> dict[tuple[int, int], list[int]]:
    """Return the best rows under each prompt of each generator, best first."""
    is_chosen = np.zeros(rows.prompts + 1, dtype=bool)
    is_chosen[list(prompts)] = True
    # The last entry is for null, whose code is -1.
    places = np.flatnonzero(is_chosen[rows.prompt] & ok_rows(table))
    mu: Floats = floats_of(table, f"{AXIS}_mu")[places]
    order = np.argsort(-mu, kind="stable")
    found: dict[tuple[int, int], list[int]] = {}
    for row in places[order[~np.isnan(mu[order])]].tolist():
        key = int(rows.prompt[row]), int(rows.generator[row])
        if key[1] in columns and len(of := found.setdefault(key, [])) < MAX_SAMPLES:
            of.append(row)
    return found
