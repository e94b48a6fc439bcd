"""The picks of best of N: one record for each row that was chosen, and where they go."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.types import AXES
from librehps_cli.ui.output import Output, figure, percent
from librehps_cli.ui.result_options import ResultOptions, media_paths

if TYPE_CHECKING:
    from librehps.decide.best_of_n import Pick
    from librehps.decide.groups import Groups
    from librehps.decide.weights import Weights

Record = dict[str, Any]
# What a pick adds to its row.
ADDED = ("rank", "score", "scored", "margin", "win_probability", "tied", "ties", "abstained")
# So many groups, and rows of equal score, are told of one by one.
FEW = 5


@dataclass(frozen=True)
class PickedGroups:
    """The scored rows, how they are grouped, and what was picked by which score."""

    rows: Any
    groups: "Groups"
    picks: "list[Pick]"
    weights: "Weights"

    @cached_property
    def table(self) -> Any:
        """The whole rows that were chosen, also of groups abstained from, and what was found.

        `group` is what the group is called. Raises UsageError where a column of the user's own has
        a name of ours.
        """
        import pyarrow as pa

        self._check_names()
        at = _indices([row for pick in self.picks for row in pick.rows])
        places = [(pick, i) for pick in self.picks for i in range(len(pick.rows))]
        columns = {
            "rank": pa.array([i + 1 for _, i in places], pa.int32()),
            "score": pa.array(self.weights.scores(self.rows.take(at)), pa.float64()),
            "scored": pa.array([pick.scored for pick, _ in places], pa.int32()),
            "margin": pa.array([pick.margins[i] for pick, i in places], pa.float64()),
            "win_probability": pa.array(
                [pick.win_probabilities[i] for pick, i in places], pa.float64()
            ),
            "tied": pa.array([pick.tied[i] for pick, i in places], pa.int32()),
            "ties": self._ids([pick.ties[i] for pick, i in places]),
            "abstained": pa.array([pick.abstained for pick, _ in places], pa.bool_()),
        }
        whole = self.rows.drop_columns([n for n in ADDED if n in self.rows.column_names])
        chosen = _with(whole.take(at), "group", self.groups.labels.take(at))
        for name, values in columns.items():
            chosen = chosen.append_column(name, values)
        return chosen

    @cached_property
    def records(self) -> list[Record]:
        """Of each row that was chosen, what a reader is told."""
        names = ("group", "id", *AXES, "overall_mu", "prompt", *ADDED)
        kept = [name for name in names if name in self.table.column_names]
        records: list[Record] = self.table.select(kept).to_pylist()
        return records

    @property
    def taken(self) -> Any:
        """The rows of every group that was not abstained from, in the order of the records."""
        import pyarrow.compute as pc

        return self.table.filter(pc.invert(self.table.column("abstained")))

    def _check_names(self) -> None:
        from librehps.errors import UsageError

        theirs = [name for name in ADDED if name in self.rows.column_names]
        if 0 < len(theirs) < len(ADDED):
            raise UsageError(
                f"columns of your own have names of the output: {', '.join(theirs)}",
                hint="Rename them: `librehps score ... --rename OLD=NEW`.",
            )

    def _ids(self, groups: list[tuple[int, ...]]) -> Any:
        """The ids of each tuple of rows, as a column of lists."""
        import numpy as np
        import pyarrow as pa

        ends = np.concatenate([[0], np.cumsum([len(rows) for rows in groups])]).astype(np.int32)
        flat = self.rows.column("id").take(_indices([row for rows in groups for row in rows]))
        return pa.ListArray.from_arrays(ends, flat.combine_chunks().cast(pa.string()))


def _indices(rows: list[int]) -> Any:
    """As Arrow wants them; it cannot tell the type of none."""
    import pyarrow as pa

    return pa.array(rows, pa.int64())


def _with(table: Any, name: str, values: Any) -> Any:
    """The table with a column, in the place of that of its name."""
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)


def deliver(picked: PickedGroups, settings: dict[str, Any], result: ResultOptions) -> None:
    """Place the media and write the file, where that was asked for."""
    from librehps.scores.table import write_table

    if result.folder is not None:
        _place(picked, result.folder, link=result.folder == result.link_to)
    if result.file is not None:
        write_table(picked.table, settings, result.file)


def _place(picked: PickedGroups, folder: Path, link: bool) -> None:
    from librehps.decide.copy_media import place
    from librehps.decide.names import readable_names

    taken = picked.taken
    paths = media_paths(taken).to_pylist()
    pairs = zip(*(taken.column(name).to_pylist() for name in ("prompt", "group")), strict=True)
    labels = [prompt or group for prompt, group in pairs]
    suffixes = [Path(path).suffix for path in paths]
    names = readable_names(labels, suffixes, taken.column("rank").to_pylist())
    place(paths, names, folder, link)


def print_picks(picked: PickedGroups, json: bool | None, out: Output) -> None:
    """Records, a table, or, where neither was asked for and nobody watches, bare paths."""
    from librehps.scores.table import json_lines

    if json:
        for line in json_lines(picked.table):
            out.line(line)
    elif json is None and out.json:
        for path in media_paths(picked.taken, "Use --json.").to_pylist():
            out.line(path)
    else:
        _print_table(picked, out)


def _print_table(picked: PickedGroups, out: Output) -> None:
    axes = list(picked.weights.weights)
    is_ranked = any(len(pick.rows) > 1 for pick in picked.picks)
    rows = []
    for record in picked.records:
        p = record["win_probability"]
        name = (record["id"] or "?") + (" =" if record["tied"] else "")
        cells = [record["group"], "(abstained)" if record["abstained"] else name]
        cells += [figure(record.get(axis)) for axis in axes]
        cells += ["-" if p is None else percent(p), str(record["scored"])]
        rows.append([str(record["rank"]), *cells] if is_ranked else cells)
    columns = ["group", "best", *axes, "beats\nnext", "of"]
    out.table(["", *columns] if is_ranked else columns, rows)
    if any(record["tied"] for record in picked.records):
        out.note("= others have the same score")


def summarise(picked: PickedGroups, out: Output) -> None:
    """What a reader of bare paths would want to know; one by one where there are few."""
    first = [record for record in picked.records if record["rank"] == 1]
    if len(first) <= FEW:
        for record in first:
            out.note(_sentence(record))
        return
    sizes = [record["scored"] for record in first]
    tied = sum(record["tied"] > 0 for record in first)
    unsure = sum(record["abstained"] for record in first)
    out.note(
        f"{len(first)} groups of {min(sizes)} to {max(sizes)}; "
        f"{tied} with ties at the top, {unsure} abstained from"
    )


def _sentence(record: Record) -> str:
    text = f"best of {record['scored']}: {record['id']}"
    if record.get("overall") is not None:
        text += f", overall {record['overall']:.3f}"
    if record["win_probability"] is not None:
        text += f"; beats the runner-up in {percent(record['win_probability'])}"
    if record["tied"]:
        named = record["ties"][:FEW]
        more = record["tied"] - len(named)
        text += f"; tied with {', '.join(map(str, named))}" + (f" and {more} more" if more else "")
    return f"{text}; abstained" if record["abstained"] else text
