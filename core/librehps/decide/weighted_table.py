"""A score table with the weighted sum of its columns as a column of its own."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from librehps.choices import Normalise
from librehps.decide.combined import count_missing
from librehps.decide.weights import Weights, choose_weights
from librehps.scores.beside import with_columns
from librehps.scores.score_table import ScoreTable
from librehps.scores.scored_file import Mask
from librehps.scores.select import ok_rows

WEIGHTED = "weighted_score"


def with_weighted_score(
    given: ScoreTable,
    weights: Mapping[str, float] | str,
    normalise: Normalise | None = None,
    among: Mask | None = None,
) -> tuple[ScoreTable, Weights]:
    """Return the table with the column WEIGHTED, null for errors and missing values.

    A column of this name, as of an earlier call, is replaced. With a mask, only rows `among` it
    have a score. The weights have `normalise` chosen, and are recorded in the settings.
    Raises UsageError for a column that is missing or holds no numbers, and NothingScoredError if no
    row has a score.
    """
    table: Any = given.source
    chosen = choose_weights(weights=weights, normalise=normalise).of(table, given.own_axes)
    scores = chosen.scores(table, among)
    is_ok = ok_rows(table) if among is None else ok_rows(table) & among
    count_missing(scores, int(is_ok.sum()), ", ".join(chosen.weights))
    column = pa.array(scores, pa.float64(), from_pandas=True)
    weighted = given.of(with_columns(table, pa.table({WEIGHTED: column})))
    return chosen.recorded_in(weighted), chosen
