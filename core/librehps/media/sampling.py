"""Choice of the frames that are sampled from a video, by index or by time."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise


def sample_indices(available: int, wanted: int) -> list[int]:
    """Return all frame indices if at most `wanted`, else the middles of `wanted` equal spans."""
    if available <= wanted:
        return list(range(available))
    spans = (round(i * available / wanted + available / (2 * wanted)) for i in range(wanted))
    return [min(index, available - 1) for index in spans]


def sample_times(times: Sequence[int], wanted: int) -> list[int]:
    """Return the indices of the frames shown at the middles of `wanted` equal spans of time.

    `times`: when each frame appears, ascending. The last frame is shown as long as the one before.
    A frame that is shown for long is sampled several times.
    """
    if len(times) <= wanted:
        return list(range(len(times)))
    return _at_middles([*times[1:], 2 * times[-1] - times[-2]], wanted, times[0])


def sample_durations(durations: Sequence[float], wanted: int) -> list[int]:
    """Return the indices of the frames shown at the middles of `wanted` equal spans of time.

    `durations`: how long each frame is shown. Frames of equal durations are sampled by index.
    """
    if len(durations) <= wanted or len(set(durations)) == 1:
        return sample_indices(len(durations), wanted)
    return _at_middles(list(accumulate(durations)), wanted)


def _at_middles(ends: Sequence[float], wanted: int, begin: float = 0) -> list[int]:
    """Return the indices of the frames, by when each ends, at the middles of equal spans."""
    span = (ends[-1] - begin) / wanted
    return [bisect_right(ends, begin + span * (at + 0.5)) for at in range(wanted)]


def is_variable(times: Sequence[int]) -> bool:
    """Return whether frames are shown for different lengths, beyond the rounding of a time base."""
    lengths = [after - before for before, after in pairwise(times)]
    if len(lengths) < 2:
        return False
    shortest, longest = min(lengths), max(lengths)
    return longest - shortest > 2 and longest > 1.2 * shortest
