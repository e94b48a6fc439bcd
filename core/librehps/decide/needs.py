"""Numbers of further prompts or samples that make the intervals of win rates as narrow as asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from librehps.decide.bradley_terry import Floats, Sums, shares_with_prior
from librehps.decide.sequential import sequential_interval
from librehps.decide.shared_prompts import Shared
from librehps.decide.standings import Interval, Need
from librehps.decide.win_shares import WinShares, win_shares
from librehps.errors import UsageError

# More pairs take minutes.
MAX_GENERATORS = 100
# Needs beyond these are not computed.
MAX_PROMPTS = 10_000_000
# A need of prompts is exact to this share.
PRECISION = 1e-3


@dataclass(frozen=True)
class Target:
    """The asked width of the intervals of win rates, None: the intervals alone.

    `sequential`: intervals that hold whenever the user stops, else for one look at a number of
    prompts fixed beforehand.
    """

    width: float | None = None
    sequential: bool = True

    def __post_init__(self) -> None:
        if self.width is not None and not 0 < self.width < 1:
            raise UsageError(
                f"--target-width: expected a number between 0 and 1, got {self.width:g}",
                hint="0.1 means a win rate known to 5 points on either side: --target-width 0.1",
            )

    def check(self, generators: int) -> None:
        """Raise UsageError for too many generators."""
        if generators > MAX_GENERATORS:
            raise UsageError(
                f"--target-width and --sequential: expected at most {MAX_GENERATORS} generators, "
                f"got {generators}",
                hint="Choose some with --only.",
            )


def needs(
    shared: Shared, sums: Sums, again: Sums, order: Sequence[int], target: Target, seed: int
) -> list[Need]:
    """Return the interval of each two generators' win rate, and what narrows it to the target.

    `order` are the generators from the strongest, whose numbers the needs have. `again` has the
    resampled sums, for intervals of one look.
    """
    found = win_shares(shared)
    place = {generator: rank for rank, generator in enumerate(order)}
    rng = np.random.default_rng([seed, 3])
    result = []
    for pair, (i, j) in enumerate(zip(*np.triu_indices(shared.count, 1), strict=True)):
        rate = float(sums.wins[pair] / sums.prompts)
        shares, counts = found.of_pair(pair)
        if target.sequential:
            low, high = sequential_interval(shares, counts)
        else:
            low, high = _resampled_ends(again.wins[:, pair], again.prompts, rng)
        need = _need(found, pair, (int(i), int(j)), Interval(rate, low, high), target)
        swapped = place[int(i)] > place[int(j)]
        result.append(need.swapped(place[int(j)], place[int(i)]) if swapped else need.placed(
            place[int(i)], place[int(j)]))  # fmt: skip
    return sorted(result, key=lambda need: (need.a, need.b))


def _resampled_ends(wins: Floats, prompts: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the percentile interval of a win rate."""
    rates = shares_with_prior(wins, prompts, rng)
    low, high = np.percentile(rates, [2.5, 97.5], method="weibull").tolist()
    return low, high


def _need(
    found: WinShares, pair: int, generators: tuple[int, int], rate: Interval, target: Target
) -> Need:
    total, within = found.variance(pair), float(found.within[pair])
    samples = float(found.samples[list(generators)].mean())
    between = None if math.isnan(within) else max(0.0, total - within) / total
    more_prompts: int | None = None
    more_samples: int | None = None
    width = rate.high - rate.low
    if target.width is not None:
        more_prompts = 0
        more_samples = 0
        if width > target.width:
            more_prompts = _more_prompts(found, pair, width, target.width, target.sequential)
            more_samples = _more_samples(between, width / target.width, samples)
    return Need(0, 1, rate, found.prompts, samples, between, more_prompts, more_samples)


def _more_prompts(
    found: WinShares, pair: int, width: float, wanted: float, sequential: bool
) -> int | None:
    """Return how many more prompts like these narrow the interval to the target; None: too many.

    At least 1: the interval is too wide.
    """
    shares, counts = found.of_pair(pair)
    times = (width / wanted) ** 2
    if sequential:
        # Narrows a little slower than with the root of the number of prompts.
        for _ in range(20):
            if found.prompts * times > MAX_PROMPTS:
                return None
            low, high = sequential_interval(shares, counts * times)
            if abs((high - low) / wanted - 1) < PRECISION:
                break
            times *= ((high - low) / wanted) ** 2
    more = math.ceil(found.prompts * (times - 1) * (1 + PRECISION))
    return max(1, more) if found.prompts + more <= MAX_PROMPTS else None


def _more_samples(between: float | None, ratio: float, samples: float) -> int | None:
    """Return how many more samples a prompt of both generators narrow the interval by `ratio`.

    None if that is unknown, or if no number of samples suffices, since prompts differ too much.
    The variance of a mean over the same prompts is that between prompts, plus that within over the
    number of samples.
    """
    if between is None or 1 / ratio**2 <= between:
        return None
    times = (1 - between) / (1 / ratio**2 - between)
    return max(1, math.ceil(samples * (times - 1)))
