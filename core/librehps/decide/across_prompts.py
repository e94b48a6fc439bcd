"""The rule for scores that are compared across prompts: say so, with the way out.

Scores tell which of two items fits one prompt better; a difficult prompt has low scores in every
item.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from librehps.files import counted

log = logging.getLogger("librehps")

Codes = NDArray[np.integer[Any]]


class Mixture(NamedTuple):
    """How many of the groups have several values, `of` how many groups, and their `values`."""

    groups: int
    of: int
    values: int


def mixture(values: Codes, groups: Codes) -> Mixture:
    """Return the mixture of codes `values` in groups of equal codes, both (rows,)."""
    first = np.empty(int(groups.max(initial=-1)) + 1, dtype=np.int64)
    # The last of several writes stays, so the first row is written last.
    first[groups[::-1]] = values[::-1]
    is_there, is_mixed = np.zeros((2, len(first)), dtype=bool)
    is_there[groups] = True
    is_mixed[groups[values != first[groups]]] = True
    # The last place is for null, whose code is -1.
    within = np.zeros(int(values.max(initial=-1)) + 2, dtype=bool)
    within[values[is_mixed[groups]]] = True
    return Mixture(int(is_mixed.sum()), int(is_there.sum()), int(within.sum()))


def note_mixed_prompts(prompts: Codes, groups: Codes) -> None:
    """Log a warning if items of different prompts are ranked in one group; codes are (rows,)."""
    mixed = mixture(prompts, groups)
    if mixed.groups:
        held = "" if mixed.of == 1 else f" in {mixed.groups} of {mixed.of} groups"
        log.warning(
            "scores of different prompts are compared (%s%s); add --per prompt",
            counted(mixed.values, "prompt"),
            held,
        )
