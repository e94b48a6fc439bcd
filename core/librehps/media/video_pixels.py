"""RGB pixels of a decoded frame as a player shows them: upright, with square pixels."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np

# Encoders that resize to even sides leave a pixel aspect a little off 1; players ignore it too.
MIN_STRETCH = 0.01


def rgb_pixels(frame: Any, aspect: Fraction | None) -> np.ndarray:
    """Return the frame as (height, width, 3) uint8, stretched by `aspect` and turned upright.

    The conversion is that of the `ffmpeg` command: the frame's own colour matrix and range apply,
    without one BT.601, limited; more than 8 bits are rounded to 8.
    """
    width, height = square_size(frame.width, frame.height, aspect)
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    steps = (
        source,
        graph.add("scale", f"{width}:{height}"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    )
    for before, after in pairwise(steps):
        before.link_to(after)
    graph.configure()
    graph.push(frame)
    return _upright(graph.pull().to_ndarray(), frame)


def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the width and height with square pixels; `aspect` is a pixel's width by its height.

    The shorter sides are stretched, so that no detail is lost.
    """
    if not aspect or aspect <= 0 or abs(aspect - 1) < MIN_STRETCH:
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def is_mirrored(frame: Any) -> bool:
    """Return whether the container's display matrix mirrors the frame, beyond any rotation."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return False
    (across, across_to_down), (down_to_across, down) = matrix
    return across * down < across_to_down * down_to_across


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Return the pixels turned and mirrored as the container's display matrix says."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return pixels
    (across, across_to_down), (down_to_across, down) = matrix
    if abs(across_to_down) > abs(across):
        pixels = pixels.swapaxes(0, 1)
        across, down = down_to_across, across_to_down
    # The axes are in place: a negative factor mirrors its axis.
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _display_matrix(frame: Any) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return where a step across and a step down in the stored frame lead, as (x, y) each."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            values = np.frombuffer(bytes(data), np.int32)
            return (int(values[0]), int(values[1])), (int(values[3]), int(values[4]))
    return None
