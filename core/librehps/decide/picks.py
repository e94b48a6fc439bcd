"""The picks of best of n: the chosen rows, their margins, and copies of their media."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from librehps.decide.copy_media import Copied, media_of, place, suffix_of
from librehps.decide.curve import Curve, curve
from librehps.decide.groups import Groups
from librehps.decide.names import readable_names
from librehps.decide.rank import Pick, Ranked
from librehps.decide.weights import Weights
from librehps.errors import UsageError
from librehps.scores.score_table import ScoreTable

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
    picks: list[Pick] = field(repr=False)
    weights: Weights
    is_calibrated: bool

    @cached_property
    def table(self) -> ScoreTable:
        """The picked rows with all columns and PICK_COLUMNS, including abstained groups.

        `group` is the name of the group. Raises UsageError if a column of the user has a name in
        PICK_COLUMNS.
        """
        rows = self.rows.table
        _check_names(rows)
        at = _indices([row for pick in self.picks for row in pick.rows])
        whole = rows.drop_columns([name for name in PICK_COLUMNS if name in rows.column_names])
        chosen = _with(whole.take(at), "group", self.groups.labels.take(at))
        for name, values in self._added(rows, at).items():
            chosen = chosen.append_column(name, values)
        return self.rows.of(chosen)

    @cached_property
    def records(self) -> list[Record]:
        """Return a dict for each picked row: group, id, scores, prompt and PICK_COLUMNS."""
        names = ("group", "id", *self.rows.axes, "overall_mu", "prompt", *PICK_COLUMNS)
        kept = [name for name in names if name in self.table.columns]
        records: list[Record] = self.table.table.select(kept).to_pylist()
        return records

    @property
    def taken(self) -> ScoreTable:
        """The picked rows without abstained groups, in the order of `records`."""
        table = self.table.table
        return self.rows.of(table.filter(pc.invert(table.column("abstained"))))

    def copy_to(
        self,
        folder: str | Path,
        *,
        link: bool = False,
        root: str | Path | None = None,
        allow_remote: bool = False,
    ) -> Copied:
        """Copy the media of `taken` into a folder, named by prompt; with `link` create links.

        `root`, `allow_remote` and the errors are those of `copy_media`.
        """
        taken, media = self.taken.table, media_of(self.taken, root, allow_remote)
        pairs = zip(*(taken.column(name).to_pylist() for name in ("prompt", "group")), strict=True)
        labels = [prompt or group for prompt, group in pairs]
        suffixes = [suffix_of(one) for one in media]
        names = readable_names(labels, suffixes, taken.column("rank").to_pylist())
        return place(media, names, Path(folder), link)

    def curve(self) -> Curve:
        """Return the curve of the expected best score of n = 1, 2, ... samples.

        Scores are means in [0, 1] for a single axis, else weighted sums of mus.
        """
        return curve(self.ranked, self.weights.shown(self.weights.scores(self.rows.table)))

    def _added(self, rows: Any, at: Any) -> Mapping[str, Any]:
        places = [(pick, i) for pick in self.picks for i in range(len(pick.rows))]
        wins = [pick.win_probabilities[i] for pick, i in places]
        return {
            "rank": pa.array([i + 1 for _, i in places], pa.int32()),
            "score": pa.array(self.weights.scores(rows.take(at)), pa.float64()),
            "scored": pa.array([pick.scored for pick, _ in places], pa.int32()),
            "margin": pa.array([pick.margins[i] for pick, i in places], pa.float64()),
            "win_probability": pa.array(wins, pa.float64()),
            "tied": pa.array([pick.tied[i] for pick, i in places], pa.int32()),
            "ties": _ids(rows, [pick.ties[i] for pick, i in places]),
            "abstained": pa.array([pick.abstained for pick, _ in places], pa.bool_()),
        }


def _check_names(rows: Any) -> None:
    taken = [name for name in PICK_COLUMNS if name in rows.column_names]
    if 0 < len(taken) < len(PICK_COLUMNS):
        raise UsageError(
            f"columns with reserved names: {', '.join(taken)}",
            hint="Rename these columns: `librehps score ... --rename OLD=NEW`.",
        )


def _ids(rows: Any, groups: list[tuple[int, ...]]) -> Any:
    """Return the ids of each tuple of rows, as an Arrow column of lists."""
    ends = np.concatenate([[0], np.cumsum([len(part) for part in groups])]).astype(np.int32)
    flat = rows.column("id").take(_indices([row for part in groups for row in part]))
    return pa.ListArray.from_arrays(ends, flat.combine_chunks().cast(pa.string()))


def _indices(rows: list[int]) -> Any:
    """Return row numbers as an Arrow array, typed since Arrow cannot infer an empty list."""
    return pa.array(rows, pa.int64())


def _with(table: Any, name: str, values: Any) -> Any:
    """Return the table with the column `name` added or replaced."""
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)
