"""Measure how many pairs active choice saves: a simulated rater follows Bradley-Terry.

    python benchmarks/judge.py [--seeds 20] [--first 0] [--pairs 300] [--world 0]

The strengths of the generators are drawn from a normal distribution; the model's scores know them
in part. Active and random choice have the same pool, rater and estimate. Printed are the error of
the strengths (root mean square, in log-odds), and the pairs after which active choice reaches the
error that random choice has at the end: of the mean over the seeds, with a bootstrap interval.
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

    `known` is the correlation of the scores with the strengths.
    """

    name: str
    generators: int = 12
    prompts: int = 100
    strengths_sd: float = 2.0
    known: float = 0.7


WORLDS = (
    World("16 generators, sd 2.5", generators=16, strengths_sd=2.5),
    World("12 generators, sd 2"),
    World("12 generators, sd 1", strengths_sd=1.0),
)


class InMemory(Judgements):
    """Judgements that are not written: a simulation asks thousands of times."""

    def add(self, judgement: Judgement) -> None:
        self.rows.append(judgement)


def contest(world: World, seed: int) -> tuple[Pool, np.ndarray]:
    """Return the pool, and the strengths of the generators."""
    rng = np.random.default_rng([seed, 7])
    size = world.generators * world.prompts
    generator = np.tile(np.arange(world.generators), world.prompts)
    drawn = rng.normal(0, world.strengths_sd, (2, world.generators))
    strengths = drawn[0] - drawn[0].mean()
    seen = world.known * strengths + np.sqrt(1 - world.known**2) * drawn[1]
    pool = Pool(
        prompts=[f"prompt {at}" for at in range(world.prompts)],
        prompt=np.repeat(np.arange(world.prompts), world.generators),
        contestant=generator,
        mu=seen[generator],
        media=[f"{at}.png" for at in range(size)],
        find=lambda at: Path(f"{at}.png"),
        generators=[f"generator {at}" for at in range(world.generators)],
        has_scores=True,
    )
    return pool, strengths


def errors(world: World, seed: int, pairs: int, is_random: bool) -> np.ndarray:
    """Return the root mean square error of the strengths after each pair, (pairs,)."""
    pool, strengths = contest(world, seed)
    rng = np.random.default_rng([seed, 8])
    with tempfile.TemporaryDirectory() as folder:
        judgements = InMemory(Path(folder, "pairs.jsonl"), ["overall"])
        plan = Plan(pairs, repeat=0, random=is_random, seed=seed)
        session = Session(pool, judgements, plan)
        mean_mu = np.array([pool.mu[pool.contestant == at].mean() for at in range(len(strengths))])
        found = []
        while (question := session.question("rater")) is not None:
            left, right = question.sides
            gap = strengths[pool.contestant[left]] - strengths[pool.contestant[right]]
            chance = 1 / (1 + np.exp(-gap))
            side = "left" if rng.random() < chance else "right"
            session.answer("rater", question.ticket, {"overall": side})
            estimate = session.beliefs.strengths(0, range(len(strengths)), mean_mu)
            off = estimate - estimate.mean() - strengths
            found.append(float(np.sqrt((off**2).mean())))
        judgements.close()
    return np.array(found)


def saving(curves: np.ndarray, count: int) -> float:
    """Return the share of `count` random pairs that active choice saves for the same error.

    `curves` are the mean errors of random and of active choice, (2, pairs).
    """
    below = np.flatnonzero(curves[1] <= curves[0][count - 1])
    return 1 - (int(below[0]) + 1) / count if len(below) else 0.0


def measure(world: World, seeds: range, pairs: int) -> None:
    """Print two lines of figures of a world: after half of the pairs, and at the end."""
    curves = np.array([
        [errors(world, seed, pairs, is_random) for is_random in (True, False)]
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
    asked = parser.parse_args()
    for world in WORLDS if asked.world is None else [WORLDS[asked.world]]:
        measure(world, range(asked.first, asked.first + asked.seeds), asked.pairs)


if __name__ == "__main__":
    main()
