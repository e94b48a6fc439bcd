"""The picks of best of n: the chosen rows, their margins, and copies of their media."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.choices import NameBy, check_choice
from librehps.decide.copy_media import media_of, way_of, with_moves
from librehps.decide.curve import Curve, curve
from librehps.decide.groups import Groups
from librehps.decide.names import distinct_names, readable_names
from librehps.decide.naming import with_ranks, with_scores
from librehps.decide.place import Copied, place, suffix_of
from librehps.decide.rank import Picks, Ranked
from librehps.decide.weights import Weights
from librehps.errors import UsageError
from librehps.media.named import INSIDE, Found
from librehps.scores.reorder import in_order
from librehps.scores.replaced import with_media
from librehps.scores.score_table import ScoreTable
from librehps.scores.select import media_paths
from librehps.scores.table import json_lines
from librehps.storage.url_path import AnyPath

Record = dict[str, Any]
# Columns that a pick adds to its row.
PICK_COLUMNS = ("rank", "score", "scored", "margin", "win_probability", "tied", "ties", "abstained")


@dataclass(frozen=True)
class BestOfN:
    """The result of `best_of_n`: the scored `rows`, the groups, and the picks.

    `is_calibrated` is True if the picks have win probabilities.
    """

    rows: ScoreTable
    groups: Groups = field(repr=False)
    ranked: Ranked = field(repr=False)
    picks: Picks = field(repr=False)
    weights: Weights
    is_calibrated: bool

    @cached_property
    def table(self) -> ScoreTable:
        """The picked rows with all columns and PICK_COLUMNS, including abstained groups.

        `group` is the name of the group. Raises UsageError if a column of the user has a name in
        PICK_COLUMNS.
        """
        check_names(self.rows.source.column_names)
        return self._table

    @cached_property
    def _table(self) -> ScoreTable:
        """The same table, also without columns of the user that have such names."""
        stream = self._stream
        return self.rows.of(pa.concat_tables([stream.schema.empty_table(), *stream.tables()]))

    def write(
        self,
        output: str | AnyPath,
        *,
        overwrite: bool = False,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        """Write `table` to X.parquet, X.jsonl or X.csv, in flat memory; see `ScoreTable.write`.

        `moved` has the new paths of media, see `Copied`.
        """
        check_names(self.rows.source.column_names)
        self.rows.of(with_media(self._stream, moved or {})).write(output, overwrite=overwrite)

    def json_lines(self, moved: Mapping[str, str] | None = None) -> Iterator[str]:
        """Yield each row of `table` as JSON; `moved` has the new paths of media."""
        check_names(self.rows.source.column_names)
        return json_lines(with_media(self._stream, moved or {}))

    def media(self) -> Iterator[str]:
        """Yield the path of each row of `taken`; raises UsageError for a row without a path."""
        for part in in_order(self.rows.source.select(["media"]), self.picks.taken_rows):
            yield from media_paths(part, "Use --json.").to_pylist()

    @cached_property
    def records(self) -> list[Record]:
        """Return a dict for each picked row: group, id, scores, prompt and PICK_COLUMNS."""
        names = ("group", "id", *self.rows.axes, "overall_mu", "prompt", *self.weights.weights)
        kept = [n for n in dict.fromkeys((*names, *PICK_COLUMNS)) if n in self._table.columns]
        records: list[Record] = self._table.table.select(kept).to_pylist()
        return records

    @property
    def taken(self) -> ScoreTable:
        """The picked rows without abstained groups, in the order of `records`."""
        table = self._table.table
        return self.rows.of(table.filter(pc.invert(table.column("abstained"))))

    def copy_to(
        self,
        folder: str | Path,
        *,
        link: bool = False,
        move: bool = False,
        name: NameBy | None = None,
        sidecars: bool | None = None,
        root: str | Path | None = None,
        allow_remote: bool = False,
    ) -> Copied:
        """Copy the media of `taken` into a folder, named by prompt; or `link` to or `move` them.

        `name` gives the files their own names, with the rank in the group or the score in front.
        The other options and the errors are those of `copy_media`.
        """
        way, taken = way_of(link, move), self.taken
        media = media_of(taken, root, allow_remote)
        shown = self.weights.shown(taken.table.column("score").to_numpy())
        names = _file_names(taken.table, media, name, shown.tolist())
        copied = place(media, names, Path(folder), way, sidecars)
        return with_moves(copied, taken, names, Path(folder)) if move else copied

    def curve(self) -> Curve:
        """Return the curve of the expected best score of n = 1, 2, ... samples.

        Scores are means in [0, 1] for a single axis, else weighted sums of mus.
        """
        return curve(self.ranked, self.weights.shown(self.weights.scores(self.rows.source)))

    @property
    def _stream(self) -> "_Stream":
        """The rows of `table`, which are read as they are used."""
        none = self._with_picks(self.rows.source.schema.empty_table(), 0)
        return _Stream(none.schema, self.picks.total, self._tables)

    def _tables(self) -> Iterator[Any]:
        first = 0
        for part in in_order(self.rows.source, self.picks.rows):
            yield self._with_picks(part, first)
            first += len(part)

    def _with_picks(self, rows: Any, first: int) -> Any:
        """Return picked rows, of which the first is number `first`, with their group and pick."""
        kept = rows.drop_columns([name for name in PICK_COLUMNS if name in rows.column_names])
        chosen = _with(kept, "group", self.groups.name_rows(rows))
        for name, values in self._added(slice(first, first + len(rows))).items():
            chosen = chosen.append_column(name, values)
        return chosen

    def _added(self, part: slice) -> Mapping[str, Any]:
        picked = self.picks.part(part)
        return {
            "rank": pa.array(picked.place + 1, pa.int32()),
            "score": pa.array(picked.scores, pa.float64()),
            "scored": pa.array(picked.scored, pa.int32()),
            "margin": pa.array(picked.margins, pa.float64(), from_pandas=True),
            "win_probability": pa.array(picked.wins, pa.float64(), from_pandas=True),
            "tied": pa.array(picked.tied, pa.int32()),
            "ties": self._ids(picked.ties()),
            "abstained": pa.array(self.picks.abstained[picked.group], pa.bool_()),
        }

    def _ids(self, groups: Sequence[Sequence[int]]) -> Any:
        """Return the ids of the rows of each group, as an Arrow column of lists."""
        ends = np.concatenate([[0], np.cumsum([len(part) for part in groups])]).astype(np.int32)
        flat = np.array([row for part in groups for row in part], dtype=np.int64)
        ids = pa.array([], pa.string())
        if len(flat):
            ids = self.rows.source.select(["id"]).take(pa.array(flat)).column(0).combine_chunks()
        return pa.ListArray.from_arrays(ends, ids.cast(pa.string()))


def _file_names(
    taken: Any, media: Sequence[Found], name: NameBy | None, scores: Sequence[float]
) -> list[str]:
    """Return a distinct file name for each picked row: its prompt, or `name` and its own name."""
    ranks, suffixes = taken.column("rank").to_pylist(), [suffix_of(one) for one in media]
    if name is None:
        pairs = zip(*(taken.column(n).to_pylist() for n in ("prompt", "group")), strict=True)
        return readable_names([prompt or group for prompt, group in pairs], suffixes, ranks)
    check_choice(name, NameBy, "name")
    stems = [PurePath(text.rpartition(INSIDE)[2]).stem for text in media_paths(taken).to_pylist()]
    if name == "rank":
        stems = with_ranks(stems, ranks)
    elif name == "score":
        stems = with_scores(stems, scores)
    return distinct_names(stems, suffixes)


@dataclass(frozen=True)
class _Stream:
    """The tables that `tables` yields, with the methods of `pyarrow.Table` that writing needs."""

    schema: Any
    rows: int
    tables: Callable[[], Iterator[Any]]

    def __len__(self) -> int:
        return self.rows

    @property
    def column_names(self) -> list[str]:
        names: list[str] = self.schema.names
        return names

    def to_batches(self, max_chunksize: int) -> Iterator[Any]:
        for table in self.tables():
            yield from table.to_batches(max_chunksize)


def check_names(columns: Sequence[str]) -> None:
    """Raise UsageError for rows with some names of PICK_COLUMNS; picks that are read have all."""
    taken = [name for name in PICK_COLUMNS if name in columns]
    if 0 < len(taken) < len(PICK_COLUMNS):
        raise UsageError(
            f"columns with reserved names: {', '.join(taken)}",
            hint="Rename these columns: `librehps score ... --rename OLD=NEW`.",
        )


def _with(table: Any, name: str, values: Any) -> Any:
    """Return the table with the column `name` added or replaced."""
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)
