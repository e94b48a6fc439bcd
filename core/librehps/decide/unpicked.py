"""Groups without a ranked row, which a decision must not drop without a word."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.decide.groups import Groups
from librehps.decide.rank import Floats
from librehps.scores.file_table import batches_of
from librehps.scores.select import ok_rows

log = logging.getLogger("librehps")

# More groups than these are counted instead of named.
MAX_NAMED_GROUPS = 5


def warn_of_unpicked(source: Any, rows: Any, groups: Groups, scores: Floats, ranked: int) -> None:
    """Log a warning that names the groups of `source` in which no row has a score.

    `rows` are the rows of `source` without an error, of which `scores` (rows,) is NaN for those
    without a score; `ranked` is the number of groups with one.
    """
    is_scored = ~np.isnan(scores)
    lost: dict[str, None] = {}
    if len(rows) < len(source):
        lost |= dict.fromkeys(_labels(source.filter(~ok_rows(source)), groups))
    if not is_scored.all():
        lost |= dict.fromkeys(_labels(rows.filter(~is_scored), groups))
    if not lost:
        return
    for batch in batches_of(rows.filter(is_scored), groups.columns):
        labels = groups.name_rows(pa.Table.from_batches([batch]))
        there = labels.filter(pc.is_in(labels, value_set=pa.array(lost, pa.string())))
        for label in there.unique().to_pylist():
            lost.pop(label, None)
        if not lost:
            return
    named = ", ".join(map(repr, list(lost)[:MAX_NAMED_GROUPS]))
    log.warning(
        "%d of %d groups %s no pick, since none of %s rows has a score: %s%s",
        len(lost),
        len(lost) + ranked,
        "has" if len(lost) == 1 else "have",
        "its" if len(lost) == 1 else "their",
        named,
        ", .." if len(lost) > MAX_NAMED_GROUPS else "",
    )


def _labels(rows: Any, groups: Groups) -> list[str]:
    """Return the distinct names of the groups of some rows, in order of appearance."""
    found: dict[str, None] = {}
    for batch in batches_of(rows, groups.columns):
        names = groups.name_rows(pa.Table.from_batches([batch])).unique().to_pylist()
        found |= dict.fromkeys(name for name in names if name is not None)
    return list(found)
