"""Coverage of the interval of a win rate, for a user who adds prompts until a winner shows.

    python benchmarks/adaptive.py --streams 1000

Each stream is two generators of equal or known strength. After every STEP prompts the interval of
the win rate is computed; the user stops when it excludes one half, or at MOST prompts. Printed is
the share of streams whose last interval holds the true rate: with the bootstrap, which is for one
look, and with the confidence sequence of `leaderboard --sequential`.
"""

import argparse
import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from librehps.decide.bradley_terry import PRIOR_WINS
from librehps.decide.sequential import sequential_interval

Floats = NDArray[np.float64]
Interval = Callable[[Floats, Floats, np.random.Generator], tuple[float, float]]
STEP, MOST, RESAMPLES = 10, 500, 1000


def bootstrap(values: Floats, counts: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of resampled prompts, as the leaderboard computes it."""
    total = int(counts.sum())
    won, lost = rng.gamma(PRIOR_WINS, size=(2, RESAMPLES))
    sums = rng.multinomial(total, counts / total, size=RESAMPLES) @ values
    low, high = np.percentile((sums + won) / (total + won + lost), [2.5, 97.5], method="weibull")
    return float(low), float(high)


def confidence_sequence(
    values: Floats, counts: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the interval that holds at any stop."""
    return sequential_interval(values, counts)


def shares(rate: float, samples: int, most: int, rng: np.random.Generator) -> Floats:
    """Return the shares of wins of `most` prompts, whose own rates differ around `rate`."""
    chance = rng.beta(4 * rate, 4 * (1 - rate), most)
    return rng.binomial(samples, chance) / samples


def stopped(
    stream: Floats, interval: Interval, rng: np.random.Generator
) -> tuple[float, float, int]:
    """Return the interval at which the user stops, and the number of prompts."""
    low, high, seen = 0.0, 1.0, 0
    for seen in range(STEP, len(stream) + 1, STEP):
        values, counts = np.unique(stream[:seen], return_counts=True)
        low, high = interval(values, counts.astype(float), rng)
        if not low <= 0.5 <= high:
            break
    return low, high, seen


def main() -> None:
    """Print a JSON line for each interval, rate and number of samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--most", type=int, default=MOST)
    options = parser.parse_args()
    for rate, samples in ((0.5, 1), (0.5, 4), (0.55, 1), (0.7, 4)):
        for interval in (bootstrap, confidence_sequence):
            rng = np.random.default_rng(0)
            ends = [
                stopped(shares(rate, samples, options.most, rng), interval, rng)
                for _ in range(options.streams)
            ]
            record = {
                "interval": interval.__name__,
                "rate": rate,
                "samples": samples,
                "streams": options.streams,
                "coverage": sum(low <= rate <= high for low, high, _ in ends) / len(ends),
                "separated": sum(not low <= 0.5 <= high for low, high, _ in ends) / len(ends),
                "mean_prompts": float(np.mean([seen for *_, seen in ends])),
            }
            print(json.dumps(record))


if __name__ == "__main__":
    main()
