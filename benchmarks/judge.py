"""Measure how many pairs active choice saves: a simulated rater follows Bradley-Terry.

    python benchmarks/judge.py [--seeds 20] [--first 0] [--pairs 300] [--world 0] [--bound]

The strengths of the generators (of the items, in a world without names) are drawn from a normal
distribution; the model's scores know them in part. A rater who says "equal" follows Davidson
(1970). Active and random choice have the same pool, rater and estimate. Printed are the error of
the strengths about the mean of those that meet (root mean square, in log-odds), and the pairs after
which active choice reaches the error that random choice has at the end: of the mean over the seeds,
with a bootstrap interval.

`--bound` prints what the best choice could save: one that knows the strengths, and an estimate that
knows how they are distributed. The errors are those that the Fisher information leaves.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from librehps.judge.judgements import Judgement, Judgements
from librehps.judge.pool import Pool
from librehps.judge.session import Plan, Session


@dataclass(frozen=True)
class World:
    """A made-up contest: the strengths' standard deviation in log-odds.

    `known` is the correlation of the scores with the strengths, `ties` Davidson's parameter.
    Without names each of a prompt's items has its own strength.
    """

    name: str
    generators: int = 12
    prompts: int = 100
    strengths_sd: float = 2.0
    known: float = 0.7
    ties: float = 0.0
    has_names: bool = True


WORLDS = (
    World("16 generators, sd 2.5", generators=16, strengths_sd=2.5),
    World("12 generators, sd 2"),
    World("12 generators, sd 1", strengths_sd=1.0),
    World("16 generators, sd 2.5, no scores", generators=16, strengths_sd=2.5, known=0.0),
    World("16 generators, sd 2.5, ties", generators=16, strengths_sd=2.5, ties=0.5),
    World("20 prompts of 6 items, sd 2", generators=6, prompts=20, has_names=False),
)


class InMemory(Judgements):
    """Judgements that are not written: a simulation asks thousands of times."""

    def add(self, judgement: Judgement) -> None:
        self.rows.append(judgement)


def contest(world: World, seed: int) -> tuple[Pool, np.ndarray]:
    """Return the pool, and the strengths: a row of contestants for each block."""
    rng = np.random.default_rng([seed, 7])
    size = world.generators * world.prompts
    shape = (1 if world.has_names else world.prompts, world.generators)
    drawn = rng.normal(0, world.strengths_sd, (2, *shape))
    strengths = drawn[0] - drawn[0].mean(axis=1, keepdims=True)
    seen = world.known * strengths + np.sqrt(1 - world.known**2) * drawn[1]
    contestant = np.arange(size) % strengths.size
    names = [f"generator {at}" for at in range(world.generators)]
    pool = Pool(
        prompts=[f"prompt {at}" for at in range(world.prompts)],
        prompt=np.repeat(np.arange(world.prompts), world.generators),
        contestant=contestant,
        mu=(seen if world.known else np.zeros_like(seen)).ravel()[contestant],
        media=[f"{at}.png" for at in range(size)],
        find=lambda at: Path(f"{at}.png"),
        generators=names if world.has_names else None,
        has_scores=world.known > 0,
    )
    return pool, strengths


def answer(gap: float, ties: float, rng: np.random.Generator) -> str:
    """Return a rater's answer; the left item is stronger by `gap`."""
    left, right, tie = np.exp(gap / 2), np.exp(-gap / 2), ties
    drawn = rng.random() * (left + right + tie)
    return "left" if drawn < left else "right" if drawn < left + right else "tie"


def errors(world: World, seed: int, pairs: int, is_random: bool) -> np.ndarray:
    """Return the root mean square error of the strengths after each pair, (pairs,)."""
    pool, strengths = contest(world, seed)
    rng = np.random.default_rng([seed, 8])
    numbers = np.arange(strengths.size).reshape(strengths.shape)
    mu = np.array([pool.mu[pool.contestant == at][0] for at in range(strengths.size)])
    with tempfile.TemporaryDirectory() as folder:
        judgements = InMemory(Path(folder, "pairs.jsonl"), ["overall"])
        plan = Plan(pairs, repeat=0, random=is_random, seed=seed)
        session = Session(pool, judgements, plan)
        found = []
        while (question := session.question("rater")) is not None:
            left, right = (strengths.flat[pool.contestant[side]] for side in question.sides)
            side = answer(left - right, world.ties, rng)
            session.answer("rater", question.ticket, {"overall": side})
            beliefs = session.beliefs
            estimate = np.array(
                [beliefs.strengths(at, row, mu[row]) for at, row in enumerate(numbers)]
            )
            off = estimate - estimate.mean(axis=1, keepdims=True) - strengths
            found.append(float(np.sqrt((off**2).mean())))
        judgements.close()
    return np.array(found)


def expected_errors(world: World, seed: int, pairs: int, is_random: bool) -> np.ndarray:
    """Return the errors that the Fisher information leaves to one who knows all but the answers.

    The active choice knows the strengths.
    """
    strengths = contest(world, seed)[1][0]
    rng = np.random.default_rng([seed, 9])
    size = len(strengths)
    a, b = np.triu_indices(size, 1)
    differences = np.eye(size)[a] - np.eye(size)[b]
    p = 1 / (1 + np.exp(-differences @ strengths))
    weight = p * (1 - p)
    center = np.eye(size) - 1 / size
    cov = np.eye(size) * world.strengths_sd**2 * (1 - world.known**2)
    found = []
    for _ in range(pairs):
        moved = differences @ cov
        variance = (moved * differences).sum(axis=1)
        told = weight * (moved**2).sum(axis=1) / (1 + weight * variance)
        at = int(rng.integers(len(a)) if is_random else told.argmax())
        cov = cov - weight[at] * np.outer(moved[at], moved[at]) / (1 + weight[at] * variance[at])
        found.append(float(np.sqrt(np.trace(center @ cov) / size)))
    return np.array(found)


def saving(curves: np.ndarray, count: int) -> float:
    """Return the share of `count` random pairs that active choice saves for the same error.

    `curves` are the mean errors of random and of active choice, (2, pairs).
    """
    below = np.flatnonzero(curves[1] <= curves[0][count - 1])
    return 1 - (int(below[0]) + 1) / count if len(below) else 0.0


def measure(world: World, seeds: range, pairs: int, is_bound: bool) -> None:
    """Print two lines of figures of a world: after half of the pairs, and at the end."""
    find = expected_errors if is_bound else errors
    curves = np.array([
        [find(world, seed, pairs, is_random) for is_random in (True, False)]
        for seed in seeds
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    for count in (pairs // 2, pairs):
        error, spread = curves[:, :, count - 1].mean(axis=0), curves[:, :, count - 1].std(axis=0)
        # Resampled seeds give the spread of the saving.
        savings = [
            saving(curves[rng.integers(len(seeds), size=len(seeds))].mean(axis=0), count)
            for _ in range(1000)
        ]
        low, high = np.quantile(savings, (0.025, 0.975))
        print(
            f"{world.name}: error after {count} pairs: random {error[0]:.3f} (sd {spread[0]:.3f}), "
            f"active {error[1]:.3f} (sd {spread[1]:.3f}); for the error of random, active needs "
            f"{saving(curves.mean(axis=0), count):.0%} fewer (95 %: {low:.0%} to {high:.0%})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--world", type=int, choices=range(len(WORLDS)), help="default: all")
    parser.add_argument("--bound", action="store_true", help="what the best choice could save")
    asked = parser.parse_args()
    for world in WORLDS if asked.world is None else [WORLDS[asked.world]]:
        # The bound is that of a rater without ties.
        if not asked.bound or (world.has_names and not world.ties):
            seeds = range(asked.first, asked.first + asked.seeds)
            measure(world, seeds, asked.pairs, asked.bound)


if __name__ == "__main__":
    main()
