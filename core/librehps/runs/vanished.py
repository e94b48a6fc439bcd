"""The columns of an output that updates bring up to date, and its rows of vanished items."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from librehps.errors import UsageError
from librehps.scores.columns import BOOLEAN, chosen_columns, full_columns
from librehps.scores.file_table import batches_of
from librehps.scores.markers import VANISHED
from librehps.scores.parquet import arrow_type

# What the next update needs of each row, in addition to `<axis>_mu`.
NEEDED = ("id", "kind", "prompt", "width", "height", "frames", "status", "sha256")


def output_columns(
    columns: Sequence[str] | str,
    axes: Sequence[str],
    own: Mapping[str, str],
    prune: bool,
    before: Collection[str] = (),
) -> dict[str, str]:
    """Return the kind of each column: the chosen ones, and those that the next update needs.

    The default columns are joined by those of a score that the output had `before`. Without `prune`
    a column tells vanished items. Raises UsageError for an own column of that name.
    """
    chosen, full = chosen_columns(columns, own, axes), full_columns(axes)
    if VANISHED in own and not prune:
        raise UsageError(
            f"column {VANISHED!r} conflicts with an output column",
            hint=f"Rename it: --rename {VANISHED}=my_{VANISHED}; or use --prune.",
        )
    kept = [name for name in full if name in before and columns == "default"]
    needed = (*NEEDED, *(f"{axis}_mu" for axis in axes), *kept)
    added = {name: full[name] for name in needed if name not in chosen}
    if not prune:
        added[VANISHED] = BOOLEAN
    if not isinstance(columns, str):
        return {**chosen, **added}
    ours = {name: kind for name, kind in chosen.items() if name not in own}
    return {**ours, **added, **own}


def marked(table: Any, is_vanished: bool, kinds: Mapping[str, str]) -> Any:
    """Return the table with the column VANISHED, if that is one of the columns `kinds`."""
    if VANISHED not in kinds:
        return table
    return table.append_column(VANISHED, pa.repeat(pa.scalar(is_vanished), len(table)))


def vanished_rows(
    old: Any, gone: NDArray[Any], kinds: Mapping[str, str], output: Path
) -> Iterator[Any]:
    """Yield the columns `kinds` of the old rows of the mask `gone`, as tables.

    A column that the old output lacks is null. Raises UsageError for values of another type.
    """
    names = [name for name in kinds if name in old.column_names]
    for batch in batches_of(old.filter(gone if hasattr(old, "read") else pa.array(gone)), names):
        columns = {n: _column(batch, n, k, output) for n, k in kinds.items() if n != VANISHED}
        yield marked(pa.table(columns), True, kinds)


def check_vanished(old: Any, gone: NDArray[Any], own: Mapping[str, str], output: Path) -> None:
    """Raise UsageError where own columns of the old rows `gone` do not fit the kinds `own`."""
    there = {field.name: field.type for field in old.schema}
    other = {n: k for n, k in own.items() if there.get(n, arrow_type(k)) != arrow_type(k)}
    for _ in vanished_rows(old, gone, other, output) if other else ():
        continue


def _column(batch: Any, name: str, kind: str, output: Path) -> Any:
    if name not in batch.schema.names:
        return pa.nulls(len(batch), arrow_type(kind))
    try:
        return batch.column(name).cast(arrow_type(kind))
    except pa.ArrowException as error:
        raise UsageError(
            f"cannot update {output}: column {name!r} of vanished items: {error}",
            hint="Drop the rows of vanished items with --prune, or rename the column: --rename "
            f"{name}=my_{name}",
        ) from error
