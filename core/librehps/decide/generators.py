"""The rows of a score table, with generators, prompts and categories as integer codes."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.decide.bradley_terry import Floats
from librehps.decide.shared_prompts import Codes, Scored
from librehps.decide.weighted_table import WEIGHTED
from librehps.errors import UsageError
from librehps.scores.columns import axes_among
from librehps.scores.file_table import batches_of
from librehps.scores.key_codes import codes_of
from librehps.scores.scored_file import Mask
from librehps.scores.select import (
    check_axes,
    check_text,
    label_column,
    number_column,
    ok_rows,
    place_of,
    sorted_by_label,
    sorted_labels,
    text_column,
)

# Each pair is compared in each resample: 500 generators take 2 GB.
MAX_GENERATORS = 500
# More distinct prompts are not sorted by their text, which would have to be in memory.
MAX_SORTED_PROMPTS = 200_000
# Without a column of this name, the generator is the first folder of the id.
FOLDER = "folder"
BY_HINT = "If each generator has a folder: --by folder"

log = logging.getLogger(__name__)


def only(table: Any, by: str, names: Sequence[str]) -> Any:
    """Return the rows of the named generators; raises UsageError for an unknown generator."""
    codes, generators = sorted_labels(table, _needed(table, by), partial(generators_of, by=by))
    unknown = [name for name in names if name not in generators or not name]
    if unknown:
        known = [name for name in generators if name]
        raise UsageError(
            f"generator not found: {', '.join(unknown)}",
            hint=f"Choose from: {', '.join(known)}.",
        )
    return table.filter(np.isin(codes, [generators.index(name) for name in names]))


class GeneratorTable:
    """The rows as codes `generator` and `prompt`, (rows,), which index `generators` and `prompts`.

    Raises UsageError for rows without a generator or prompt, and for fewer than two generators.
    """

    def __init__(self, table: Any, by: str) -> None:
        self._table, self._by = table, by
        self.generator: Codes
        self.generator, self.generators = sorted_labels(
            table, _needed(table, by), partial(generators_of, by=by)
        )
        check_text(table, "prompt")
        self.prompt: Codes = codes_of(table, "prompt")
        self.prompts = int(self.prompt.max(initial=-1)) + 1
        if self.prompts <= MAX_SORTED_PROMPTS:
            # So that resamples do not depend on the order of rows.
            label = partial(text_column, name="prompt")
            self.prompt, _ = sorted_by_label(table, "prompt", label, self.prompt)
        self.is_ok = ok_rows(table)
        self._check()

    def _check(self) -> None:
        # The last entry is for null, whose code is -1.
        nameless = np.array([*(not name.strip() for name in self.generators), True])
        bare = int(nameless[self.generator].sum())
        if bare:
            in_folders = _is_folder(self._table, self._by)
            missing = "folder in their id" if in_folders else f"value in the column {self._by}"
            raise UsageError(
                f"{bare} of {len(self._table)} rows have no generator: no {missing}",
                hint="Choose another column with --by.",
            )
        bare = int((self.is_ok & (self.prompt < 0)).sum())
        if bare:
            raise UsageError(f"{bare} of {len(self._table)} rows have a score but no prompt")
        if len(self.generators) > MAX_GENERATORS:
            raise UsageError(
                f"{self._by}: {len(self.generators)} generators; expected at most {MAX_GENERATORS}",
                hint="Choose some with --only, or another column with --by.",
            )
        if len(self.generators) < 2:
            raise UsageError(
                f"expected two or more generators, got one: {self.generators[0]}",
                hint="Add scored files of other generators, or choose another column with --by.",
            )

    def axes(self, asked: Sequence[str] | None) -> list[str]:
        """Return the axes with scores, or the `asked` ones; raises UsageError without scores."""
        if asked == [WEIGHTED]:
            return [WEIGHTED]
        check_axes(self._table, asked or ())
        scored = [axis for axis in axes_among(self._table.column_names) if self._has(axis)]
        missing = [axis for axis in asked or () if axis not in scored]
        if missing or not scored:
            raise UsageError(
                f"no row has a score on {', '.join(missing) or 'any axis'}",
                hint=f"Axes with scores: {', '.join(scored)}." if scored else None,
            )
        return scored if asked is None else [axis for axis in scored if axis in asked]

    def _has(self, axis: str) -> bool:
        names = [axis, f"{axis}_mu"]
        if not set(names) <= set(self._table.column_names):
            return False
        first = 0
        for batch in batches_of(self._table, names):
            known = self.is_ok[first : first + len(batch)].copy()
            first += len(batch)
            part = pa.Table.from_batches([batch])
            for name in names:
                known &= np.isfinite(_numbers(part, name))
            if known.any():
                return True
        return False

    def scored(self, axis: str) -> Scored:
        """Return the rows that have a score on the axis and no error."""
        mean = _numbers(self._table, axis)
        mu = mean if axis == WEIGHTED else _numbers(self._table, f"{axis}_mu")
        known: Mask = self.is_ok & np.isfinite(mean)
        known &= np.isfinite(mu)
        return Scored(self.prompt[known], self.generator[known], mu[known], mean[known])

    def errors(self, prompts: Codes | None = None) -> Codes:
        """Return the number of failed rows of each generator, (generators,)."""
        failed = ~self.is_ok if prompts is None else ~self.is_ok & np.isin(self.prompt, prompts)
        return np.bincount(self.generator[failed], minlength=len(self.generators))

    def categories(self, column: str) -> dict[str, Codes]:
        """Return the prompts of each category; a prompt may be in several categories."""
        place_of(self._table, column, self._table.column_names)
        category, names = sorted_labels(self._table, column, partial(label_column, name=column))
        known = (category >= 0) & (self.prompt >= 0)
        count = self.prompts
        pairs = np.unique(category[known].astype(np.int64) * count + self.prompt[known])
        times = np.bincount(pairs % count, minlength=count)
        several, none = int((times > 1).sum()), int((times < 1).sum())
        if several:
            log.warning("%d prompts have several values of %s and count in each", several, column)
        if none:
            log.warning("%d prompts have no value of %s and are in no category", none, column)
        return {name: pairs[pairs // count == i] % count for i, name in enumerate(names)}


def _numbers(table: Any, name: str) -> Floats:
    column = number_column(table, name)
    if not pa.types.is_float32(column.type):
        column = column.cast(pa.float64(), safe=False)
    # Nulls become NaN.
    numbers: Floats = column.to_numpy()
    return numbers


def _is_folder(table: Any, by: str) -> bool:
    return by == FOLDER and FOLDER not in table.column_names


def _needed(table: Any, by: str) -> str:
    """Return the column that `generators_of` reads; raises UsageError where it is missing."""
    hint = None if _is_folder(table, by) else BY_HINT
    name = "id" if _is_folder(table, by) else by
    place_of(table, name, table.column_names, hint)
    return name


def generators_of(table: Any, by: str) -> Any:
    """Return the generator of each row as text: a column, or the first folder of the id."""
    if not _is_folder(table, by):
        return label_column(table, by, BY_HINT)
    ids = text_column(table, "id").cast(pa.string())
    folders = pc.replace_substring_regex(ids, "(?s)/.*", "")
    return pc.if_else(pc.match_substring(ids, "/"), folders, "")
