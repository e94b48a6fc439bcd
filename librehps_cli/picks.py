"""The picks of best of N: one record for each row that was chosen, and where they go."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.types import AXES
from librehps_cli.output import Output, figure, percent
from librehps_cli.results import ResultOptions, media_paths

if TYPE_CHECKING:
    from librehps.decide.best_of_n import Pick
    from librehps.decide.groups import Groups
    from librehps.decide.mix import Mix

Record = dict[str, Any]
CARRIED = ("media", "id", "prompt", *AXES, *(f"{axis}_mu" for axis in AXES), "settings")
# So many groups are told of one by one.
FEW = 5


@dataclass(frozen=True)
class PickedGroups:
    """The scored rows, how they are grouped, and what was picked by which score."""

    rows: Any
    groups: "Groups"
    picks: "list[Pick]"
    mix: "Mix"

    @cached_property
    def records(self) -> list[Record]:
        """One for each chosen row, also of groups abstained from, which say so."""
        at = [row for pick in self.picks for row in pick.rows]
        carried = self.rows.select([n for n in CARRIED if n in self.rows.column_names])
        labels = self.groups.labels.take(at).to_pylist()
        scores = self.mix.scores(self.rows.take(at))
        places = [(pick, i) for pick in self.picks for i in range(len(pick.rows))]
        found = zip(places, labels, carried.take(at).to_pylist(), scores, strict=True)
        return [
            {
                "group": label,
                "rank": i + 1,
                **row,
                "score": float(score),
                "scored": pick.scored,
                "margin": pick.margins[i],
                "win_probability": pick.win_probabilities[i],
                "ties": self._ids(pick.ties[i]),
                "abstained": pick.abstained,
            }
            for (pick, i), label, row, score in found
        ]

    @property
    def taken(self) -> Any:
        """The rows of every group that was not abstained from, in the order of the records."""
        return self.rows.take([r for p in self.picks if not p.abstained for r in p.rows])

    def to_table(self) -> Any:
        """The records as an Arrow table."""
        import pyarrow as pa

        from librehps.sink.parquet import arrow_type
        from librehps.sink.schema import COLUMNS

        kinds = {"group": pa.string(), "rank": pa.int32()}
        kinds |= {n: arrow_type(COLUMNS[n]) for n in CARRIED if n in self.rows.column_names}
        kinds |= {"score": pa.float64(), "scored": pa.int32(), "margin": pa.float64()}
        kinds |= {"win_probability": pa.float64(), "ties": pa.list_(pa.string())}
        schema = pa.schema({**kinds, "abstained": pa.bool_()})
        return pa.Table.from_pylist(self.records, schema=schema)

    def _ids(self, rows: tuple[int, ...]) -> list[str]:
        ids = self.rows.column("id")
        return [ids[row].as_py() for row in rows]


def deliver(picked: PickedGroups, settings: dict[str, Any], result: ResultOptions) -> None:
    """Place the media and write the file, where that was asked for."""
    from librehps.sink.table import write_table

    if result.folder is not None:
        _place(picked, result.folder, link=result.folder == result.link_to)
    if result.file is not None:
        write_table(picked.to_table(), settings, result.file)


def _place(picked: PickedGroups, folder: Path, link: bool) -> None:
    from librehps.decide.names import readable_names
    from librehps.decide.place import place

    records = [record for record in picked.records if not record["abstained"]]
    paths = media_paths(picked.taken).to_pylist()
    labels = [record["prompt"] or record["group"] for record in records]
    suffixes = [Path(path).suffix for path in paths]
    place(paths, readable_names(labels, suffixes, [r["rank"] for r in records]), folder, link)


def print_picks(picked: PickedGroups, json: bool | None, out: Output) -> None:
    """Records, a table, or, where neither was asked for and nobody watches, bare paths."""
    if json:
        out.records(picked.records)
    elif json is None and out.json:
        for path in media_paths(picked.taken, "Use --json.").to_pylist():
            out.line(path)
    else:
        _print_table(picked, out)
        return
    _summarise(picked.records, out)


def _print_table(picked: PickedGroups, out: Output) -> None:
    axes = list(picked.mix.weights)
    is_ranked = any(len(pick.rows) > 1 for pick in picked.picks)
    rows = []
    for record in picked.records:
        p = record["win_probability"]
        name = record["id"] + (" =" if record["ties"] else "")
        cells = [record["group"], "(abstained)" if record["abstained"] else name]
        cells += [figure(record[axis]) for axis in axes]
        cells += ["-" if p is None else percent(p), str(record["scored"])]
        rows.append([str(record["rank"]), *cells] if is_ranked else cells)
    columns = ["group", "best", *axes, "beats\nnext", "of"]
    out.table(["", *columns] if is_ranked else columns, rows)
    if any(record["ties"] for record in picked.records):
        out.note("= others have the same score")


def _summarise(records: list[Record], out: Output) -> None:
    """What a reader of bare paths would want to know; one by one where there are few."""
    first = [record for record in records if record["rank"] == 1]
    if len(first) <= FEW:
        for record in first:
            out.note(_sentence(record))
        return
    sizes = [record["scored"] for record in first]
    tied = sum(bool(record["ties"]) for record in first)
    unsure = sum(record["abstained"] for record in first)
    out.note(
        f"{len(first)} groups of {min(sizes)} to {max(sizes)}; "
        f"{tied} with ties at the top, {unsure} abstained from"
    )


def _sentence(record: Record) -> str:
    text = f"best of {record['scored']}: {record['id']}, overall {record['overall']:.3f}"
    if record["win_probability"] is not None:
        text += f"; beats the runner-up in {percent(record['win_probability'])}"
    if record["ties"]:
        text += f"; tied with {', '.join(record['ties'])}"
    return f"{text}; abstained" if record["abstained"] else text
