"""A confidence sequence for the mean of values in [0, 1]: an interval that holds at any stop.

Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting". For a
mean m, the capital of a gambler who stakes the share c of it on a larger mean is
prod_i (1 - c + c x_i / m), a martingale that begins at 1. A mean is ruled out while the mean
capital over the shares BETS is 2 / ALPHA or more (Ville's inequality); the upper end likewise for
1 - x. The shares are fixed, so that the order of the values does not matter.
"""

import numpy as np

from librehps.decide.bradley_terry import Floats

ALPHA = 0.05
# The share that suits a mean estimated from n values falls with the root of n: these reach n = 1e7.
BETS = 0.9 * 1.6 ** -np.arange(20.0)
# Ends are found to this distance, and moved outwards by it.
STEP = 1e-5


def sequential_interval(values: Floats, counts: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values`, each with its count, at any stop.

    The interval holds for all numbers of values together, with values drawn independently from one
    population. Counts may be fractions, to see how wide the interval of more values would be.
    """
    return _low(values, counts), 1 - _low(1 - values, counts)


def _low(values: Floats, counts: Floats) -> float:
    """Return the largest mean below which every mean is ruled out."""
    low, high = 0.0, float(values @ counts / counts.sum())
    while high - low > STEP:
        middle = (low + high) / 2
        if _log_capital(values, counts, middle) >= np.log(2 / ALPHA):
            low = middle
        else:
            high = middle
    return low


def _log_capital(values: Floats, counts: Floats, mean: float) -> float:
    """Return the logarithm of the mean capital over BETS; it falls with `mean`."""
    steps = np.log1p(np.multiply.outer(BETS, values / mean - 1)) @ counts
    return float(np.logaddexp.reduce(steps) - np.log(len(BETS)))
