"""A map of the regions of a picture that cost or earn a score.

Each window of the picture is covered in turn with the picture's mean colour. If the picture then
scores more, the window cost points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor

from librehps.explain.subject import Subject

# Side of a window, and step between windows, as shares of the picture's shorter side.
WINDOW, STEP = 0.25, 0.125


@dataclass(frozen=True)
class Window:
    """The pixels [top, bottom) x [left, right) of a picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class RegionMap:
    """Points of mu that each cell of a picture costs on `axis`; below 0 where it earns points.

    costs: rows of cells of equal size; mu: the picture's score.
    """

    axis: str
    mu: float
    costs: tuple[tuple[float, ...], ...]

    @property
    def worst(self) -> float:
        """The largest cost of a cell; 0 or less if no cell costs points."""
        return max(map(max, self.costs))

    @property
    def peak(self) -> tuple[float, float]:
        """The middle of the cells that cost most, (x, y) as shares of width and height."""
        costs = torch.tensor(self.costs)
        rows, columns = (costs >= costs.max() - 1e-6).nonzero(as_tuple=True)
        x = (columns.float().mean().item() + 0.5) / costs.shape[1]
        return x, (rows.float().mean().item() + 0.5) / costs.shape[0]

    def record(self) -> dict[str, Any]:
        """Return the map as a dict with stable names; costs to four digits."""
        x, y = self.peak
        return {
            "axis": self.axis,
            "mu": self.mu,
            "peak": {"x": round(x, 4), "y": round(y, 4)},
            "costs": [[round(cost, 4) for cost in row] for row in self.costs],
        }


def explain_regions(subject: Subject, axis: str) -> RegionMap:
    """Return the map of the subject's first frame on an axis."""
    at, pixels = subject.axis(axis), subject.pixels
    height, width = pixels.shape[-2:]
    step = max(1, round(STEP * min(height, width)))
    windows = list(windows_of(height, width, round(WINDOW * min(height, width)), step))
    covers = (covered(pixels, window) for window in windows)
    scores = subject.with_pixels(chain([pixels], covers))
    cells = torch.zeros(-(-height // step), -(-width // step), dtype=torch.float64)
    counts = torch.zeros_like(cells)
    for window, score in zip(windows, scores[1:], strict=True):
        rows = slice(window.top // step, -(-window.bottom // step))
        columns = slice(window.left // step, -(-window.right // step))
        cells[rows, columns] += score.mu[at] - scores[0].mu[at]
        counts[rows, columns] += 1
    costs = (cells / counts.clamp(min=1)).tolist()
    return RegionMap(axis, scores[0].mu[at], tuple(map(tuple, costs)))


def windows_of(height: int, width: int, side: int, step: int) -> Iterator[Window]:
    """Yield the windows that cover a picture, row by row; the last ones end at its edges."""
    for top, left in product(_starts(height, side, step), _starts(width, side, step)):
        yield Window(top, min(top + side, height), left, min(left + side, width))


def _starts(length: int, side: int, step: int) -> list[int]:
    last = max(0, length - side)
    return sorted({*range(0, last + 1, step), last})


def covered(pixels: Tensor, window: Window) -> Tensor:
    """Return the pixels with a window filled with the mean colour of each frame."""
    filled = pixels.clone()
    mean = pixels.float().mean((-2, -1), keepdim=True).round().to(torch.uint8)
    filled[..., window.top : window.bottom, window.left : window.right] = mean
    return filled
