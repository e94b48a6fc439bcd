"""Output of best-of-n: files, tables and notes."""

from typing import TYPE_CHECKING, Any

from librehps.files import counted
from librehps_cli.ui.errors import row_error
from librehps_cli.ui.media_root import print_missing, print_moved, print_uncopied
from librehps_cli.ui.options import SourceFlags
from librehps_cli.ui.output import Output, figure, percent
from librehps_cli.ui.result_options import ResultOptions

if TYPE_CHECKING:
    from librehps.decide.picks import BestOfN
    from librehps.decide.place import Copied
    from librehps.scores.score_table import ScoreTable

Record = dict[str, Any]
# More groups, errors or ties than these are counted instead of named.
MAX_NAMED_ROWS = 5


def print_errors(failed: "ScoreTable", is_new: bool, out: Output) -> int:
    """Name the first rows with errors that are new; return the number of rows that failed now.

    Rows with errors in a scored file are counted in a note.
    """
    if not is_new:
        if len(failed):
            out.note(f"{counted(len(failed), 'row')} with errors left out")
        return 0
    names = [n for n in ("id", "error", "error_type") if n in failed.columns]
    for row in failed.source.select(names).slice(0, MAX_NAMED_ROWS).to_pylist():
        why = row.get("error") or "no error message"
        out.error(row_error(row.get("id"), why, row.get("error_type") or "unknown"))
    if len(failed) > MAX_NAMED_ROWS:
        out.error(f"and {counted(len(failed) - MAX_NAMED_ROWS, 'more row')} with errors")
    return len(failed)


def deliver(
    picked: "BestOfN", result: ResultOptions, sources: SourceFlags, out: Output
) -> "Copied | None":
    """Copy, link or move the media, and write the output file; return what was copied."""
    copied = None
    if result.folder is not None:
        copied = picked.copy_to(
            result.folder,
            **result.placing,
            name=result.name,
            root=sources.root,
            allow_remote=sources.allow_remote,
        )
        print_uncopied(copied, out)
        print_moved(copied, result.folder, out)
    if result.file is not None:
        moved = None if copied is None else copied.moved
        picked.write(result.file, overwrite=result.overwrite, moved=moved)
    return copied


def print_picks(
    picked: "BestOfN",
    json: bool | None,
    out: Output,
    root: str | None,
    copied: "Copied | None" = None,
) -> int:
    """Print JSON Lines or a table; without a flag, a table on a terminal and paths in a pipe.

    Return the number of paths that do not exist, which are not printed.
    """
    if json:
        for line in picked.json_lines(None if copied is None else copied.moved):
            out.line(line)
    elif json is None and out.json:
        found = picked.rows.folder.under(root).found(picked.media())
        for path in found.paths:
            out.line(path)
        print_missing(found.missing, len(found.paths) + len(found.missing), out)
        return len(found.missing)
    else:
        _print_table(picked, out)
    return 0


def _print_table(picked: "BestOfN", out: Output) -> None:
    axes = list(picked.weights.weights)
    is_ranked = picked.picks.total > len(picked.picks)
    rows = []
    for record in picked.records:
        p = record["win_probability"]
        name = (record["id"] or "?") + (" =" if record["tied"] else "")
        cells = [record["group"], "(abstained)" if record["abstained"] else name]
        cells += [_value(record.get(axis), axis in picked.rows.axes) for axis in axes]
        cells += ["-" if p is None else percent(p), str(record["scored"])]
        rows.append([str(record["rank"]), *cells] if is_ranked else cells)
    columns = ["group", "best", *axes, "beats\nnext", "of"]
    out.table(["", *columns] if is_ranked else columns, rows)
    if any(record["tied"] for record in picked.records):
        out.note("=: tied with other items of the group")


def _value(value: float | None, is_axis: bool) -> str:
    return figure(value) if is_axis or value is None else f"{value:.3f}"


def print_curve(picked: "BestOfN", out: Output) -> None:
    """Print the expected best of n samples: an axis as mean in [0, 1], a weighted sum as mu."""
    found = picked.curve()
    points = found.records()
    if out.json:
        out.records(points)
    else:
        is_mean = picked.weights.axis is not None
        out.table(["n", "expected best", "95 %", "gain"], [_cells(p, is_mean) for p in points])
    skipped = counted(found.left_out, "group")
    out.note(f"{counted(found.groups, 'group')}; skipped {skipped} with fewer samples")
    if found.most > len(points):
        out.note(
            f"n ends at {len(points)}, the size of most groups; the largest group has {found.most}"
        )


def _cells(point: Record, is_mean: bool) -> list[str]:
    best, gain = point["expected_best"], point["gain"]
    shown = figure(best) if is_mean else f"{best:.3f}"
    between = f"{point['low']:.3f} to {point['high']:.3f}"
    return [str(point["n"]), shown, between, "" if gain is None else f"{gain:+.3f}"]


def summarise(picked: "BestOfN", out: Output) -> None:
    """Print a note for each chosen item, or counts if there are many groups."""
    counts = picked.picks.counts()
    if counts.groups <= MAX_NAMED_ROWS:
        for record in picked.records:
            if record["rank"] == 1:
                out.note(_sentence(record))
        return
    out.note(
        f"{counts.groups} groups of {counts.smallest} to {counted(counts.largest, 'item')}; "
        f"{counts.tied} tied for the best, {counts.abstained} abstained"
    )


def _sentence(record: Record) -> str:
    text = f"best of {record['scored']}: {record['id']}"
    if record.get("overall") is not None:
        text += f", overall {record['overall']:.3f}"
    if record["win_probability"] is not None:
        text += f"; beats the runner-up with {percent(record['win_probability'])}"
    if record["tied"]:
        named = record["ties"][:MAX_NAMED_ROWS]
        more = record["tied"] - len(named)
        text += f"; tied with {', '.join(map(str, named))}" + (f" and {more} more" if more else "")
    return f"{text}; abstained" if record["abstained"] else text
