"""A map of the regions of a picture that cost or earn a score.

Each window of the picture is covered in turn with the picture's mean colour. If the picture then
scores more, the window cost points. The map keeps a value for each window: a mean of the windows
over a cell would put its maximum beside a thin defect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor

from librehps.explain.subject import NOISE_MU, Subject

# Cells along the picture's shorter side, and along a side of a window.
CELLS, WINDOW_CELLS = 8, 2
# A picture of more windows has larger cells.
MAX_WINDOWS = 128
# A window near the costliest draws the peak by this power of its cost, chosen on rendered scenes.
PEAK_POWER = 4


@dataclass(frozen=True)
class Window:
    """A square of cells of a picture, the first at (row, column), and its pixels.

    The pixels are [top, bottom) x [left, right).
    """

    row: int
    column: int
    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class RegionMap:
    """Points of mu that each window of a picture costs on `axis`; below 0 where it earns points.

    costs: rows of windows, each a cell after the one before; mu: the picture's score.
    """

    axis: str
    mu: float
    costs: tuple[tuple[float, ...], ...]

    @property
    def has_costs(self) -> bool:
        """True if a window costs points."""
        return max(map(max, self.costs)) > NOISE_MU

    @property
    def peak(self) -> tuple[float, float]:
        """The place that costs most, (x, y) as shares of width and height.

        The middle of the window that costs most, drawn to the middles of costly windows around it.
        """
        costs = torch.tensor(self.costs, dtype=torch.float64)
        row, column = divmod(int(costs.argmax()), costs.shape[1])
        near = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
        most, weights = costs.max().clamp(min=NOISE_MU), torch.zeros_like(costs)
        weights[near] = (costs[near].clamp(min=0) / most) ** PEAK_POWER
        weights[row, column] = 1
        y, x = _middle(weights.sum(1)), _middle(weights.sum(0))
        return x, y

    @property
    def remark(self) -> str | None:
        """A sentence on a map that is coarser than usual; None for any other."""
        cells = min(len(self.costs), len(self.costs[0])) + WINDOW_CELLS - 1
        if cells >= CELLS:
            return None
        return f"long picture: {cells} cells along the shorter side instead of {CELLS}"

    def record(self) -> dict[str, Any]:
        """Return the map as a dict with stable names; costs to four digits."""
        x, y = self.peak
        return {
            "axis": self.axis,
            "mu": self.mu,
            "peak": {"x": round(x, 4), "y": round(y, 4)},
            "remark": self.remark,
            "costs": [[round(cost, 4) for cost in row] for row in self.costs],
        }


def _middle(weights: Tensor) -> float:
    """Return the weighted mean of the middles of windows along a side, as a share of the side."""
    places = torch.arange(len(weights)) + WINDOW_CELLS / 2
    return float((weights * places).sum() / weights.sum()) / (len(weights) + WINDOW_CELLS - 1)


def explain_regions(subject: Subject, axis: str) -> RegionMap:
    """Return the map of the subject's first frame on an axis."""
    at, pixels = subject.axis(axis), subject.pixels
    height, width = pixels.shape[-2:]
    windows = list(windows_of(height, width))
    covers = (covered(pixels, window) for window in windows)
    whole, *scores = [score.mu[at] for score in subject.with_pixels(chain([pixels], covers))]
    gains = [score - whole for score in scores]
    columns = 1 + max(window.column for window in windows)
    rows = tuple(tuple(gains[at : at + columns]) for at in range(0, len(gains), columns))
    return RegionMap(axis, whole, rows)


def windows_of(height: int, width: int, step: int = 1) -> Iterator[Window]:
    """Yield the windows of a picture, each `step` cells after the one before, row by row."""
    tops, lefts = edges_of(height, width)
    rows, columns = (range(0, len(edges) - WINDOW_CELLS, step) for edges in (tops, lefts))
    for row, column in product(rows, columns):
        bottom, right = tops[row + WINDOW_CELLS], lefts[column + WINDOW_CELLS]
        yield Window(row, column, tops[row], bottom, lefts[column], right)


def edges_of(height: int, width: int) -> tuple[list[int], list[int]]:
    """Return the edges of the rows and of the columns of cells, in pixels."""
    rows, columns = grid_of(height, width)
    tops, lefts = (
        [round(at * side / n) for at in range(n + 1)]
        for side, n in ((height, rows), (width, columns))
    )
    return tops, lefts


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of cells: the finest grid of at most MAX_WINDOWS windows."""
    for cells in range(CELLS, WINDOW_CELLS, -1):
        rows, columns = (round(cells * side / min(height, width)) for side in (height, width))
        if (rows + 1 - WINDOW_CELLS) * (columns + 1 - WINDOW_CELLS) <= MAX_WINDOWS:
            return rows, columns
    return min(rows, MAX_WINDOWS // 2), min(columns, MAX_WINDOWS // 2)


def covered(pixels: Tensor, window: Window) -> Tensor:
    """Return the pixels with a window filled with the mean colour of each frame."""
    filled = pixels.clone()
    mean = pixels.float().mean((-2, -1), keepdim=True).round().to(torch.uint8)
    filled[..., window.top : window.bottom, window.left : window.right] = mean
    return filled
