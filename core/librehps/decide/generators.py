"""The rows of a scored table by generator, prompt and category, as numbers."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.decide.bradley_terry import Floats
from librehps.decide.shared_prompts import Codes, Scored
from librehps.errors import UsageError
from librehps.scores.columns import axes_among
from librehps.scores.select import (
    check_axes,
    label_column,
    number_column,
    sorted_codes,
    text_column,
)

# Every two are compared in every resample: this many take 2 GB.
MOST = 500
# Where no column is called so, it is the first folder of the id.
FOLDER = "folder"

log = logging.getLogger(__name__)


def only(table: Any, by: str, names: Sequence[str]) -> Any:
    """The rows of the generators named; raises UsageError for a name that there is not."""
    generators = _generators(table, by)
    there = sorted(name for name in generators.unique().to_pylist() if name)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UsageError(
            f"no generator is called {', '.join(unknown)}",
            hint=f"There are: {', '.join(there)}.",
        )
    return table.filter(pc.is_in(generators, value_set=pa.array(names, pa.string())))


class GeneratorTable:
    """Each row's `generator` and `prompt` as numbers, (rows,), by `generators` and `prompts`.

    Raises UsageError where rows have no generator or no prompt, or all have the same generator.
    """

    def __init__(self, table: Any, by: str) -> None:
        self._table, self._by = table, by
        self.generator, self.generators = sorted_codes(_generators(table, by))
        self.prompt, self.prompts = sorted_codes(text_column(table, "prompt"))
        self.is_ok: NDArray[np.bool_] = np.asarray(pc.equal(text_column(table, "status"), "ok"))
        self._check()

    def _check(self) -> None:
        # A place more, for the code of nulls.
        nameless = np.array([*(not name.strip() for name in self.generators), True])
        bare = int(nameless[self.generator].sum())
        if bare:
            in_folders = _is_folder(self._table, self._by)
            lacks = "lie in no folder" if in_folders else f"have no value in {self._by}"
            raise UsageError(f"{bare} of {len(self._table)} rows {lacks}: no generator is named")
        bare = int((self.is_ok & (self.prompt < 0)).sum())
        if bare:
            raise UsageError(f"{bare} of {len(self._table)} rows have a score but no prompt")
        if len(self.generators) > MOST:
            raise UsageError(
                f"{self._by} names {len(self.generators)} generators; at most {MOST} are compared",
                hint="Choose some with --only, or another column with --by.",
            )
        if len(self.generators) < 2:
            raise UsageError(
                f"there is only one generator, {self.generators[0]}",
                hint="Give the scored files of another too, or another column with --by.",
            )

    def axes(self, asked: Sequence[str] | None) -> list[str]:
        """Axes with scores, or those asked for; raises UsageError where one of them has none."""
        check_axes(self._table, asked or ())
        there = [axis for axis in axes_among(self._table.column_names) if self._has(axis)]
        lacking = [axis for axis in asked or () if axis not in there]
        if lacking or not there:
            raise UsageError(
                f"no row has a score of {', '.join(lacking) or 'any axis'}",
                hint=f"Axes with scores: {', '.join(there)}." if there else None,
            )
        return there if asked is None else [axis for axis in there if axis in asked]

    def _has(self, axis: str) -> bool:
        is_there = {axis, f"{axis}_mu"} <= set(self._table.column_names)
        return is_there and len(self.scored(axis).mu) > 0

    def scored(self, axis: str) -> Scored:
        """The rows without an error that have a score of the axis."""
        mean, mu = self._numbers(axis), self._numbers(f"{axis}_mu")
        known = self.is_ok & np.isfinite(mean) & np.isfinite(mu)
        return Scored(self.prompt, self.generator, mu, mean).where(known)

    def _numbers(self, name: str) -> Floats:
        column = number_column(self._table, name).cast(pa.float64(), safe=False)
        numbers: Floats = column.to_numpy()
        return numbers

    def errors(self, prompts: Codes | None = None) -> Codes:
        """Rows with errors by generator, (generators,), of all prompts or of some."""
        failed = ~self.is_ok if prompts is None else ~self.is_ok & np.isin(self.prompt, prompts)
        return np.bincount(self.generator[failed], minlength=len(self.generators))

    def categories(self, column: str) -> dict[str, Codes]:
        """Prompts of each category; a prompt whose rows say several is in each of them."""
        category, names = sorted_codes(label_column(self._table, column))
        known = (category >= 0) & (self.prompt >= 0)
        count = len(self.prompts)
        pairs = np.unique(category[known] * count + self.prompt[known])
        times = np.bincount(pairs % count, minlength=count)
        several, none = int((times > 1).sum()), int((times < 1).sum())
        if several:
            log.warning("%d prompts have several values of %s: each counts", several, column)
        if none:
            log.warning("%d prompts have no value of %s", none, column)
        return {name: pairs[pairs // count == i] % count for i, name in enumerate(names)}


def _is_folder(table: Any, by: str) -> bool:
    return by == FOLDER and FOLDER not in table.column_names


def _generators(table: Any, by: str) -> Any:
    if not _is_folder(table, by):
        return label_column(table, by)
    ids = text_column(table, "id").cast(pa.string())
    folders = pc.replace_substring_regex(ids, "(?s)/.*", "")
    return pc.if_else(pc.match_substring(ids, "/"), folders, "")
