"""librehps filter: rows of scored files that meet conditions."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.errors import UsageError
from librehps.files import counted
from librehps_cli.ui.conditions import Distinct, DistinctBits, Where, distinct_of
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.help import CONDITIONS, OUTPUT, examples
from librehps_cli.ui.media_root import MediaFlags, print_missing, print_moved, print_uncopied
from librehps_cli.ui.options import Quiet, ScoredFiles, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.result_options import ResultOptions
from librehps_cli.ui.weighing import JoinOptions, WeightOptions

if TYPE_CHECKING:
    from librehps.decide.naming import Naming
    from librehps.decide.place import Copied
    from librehps.scores.score_table import ScoreTable

MAX_WRITTEN_PATHS = 10_000


@dataclass(frozen=True)
class ConditionOptions:
    """Flags that say which rows pass."""

    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--min",
            metavar="COLUMN=NUMBER",
            help="Keep rows with at least this value: overall=0.6, overall_mu=1. Repeatable.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    maximum: Annotated[
        list[str] | None,
        typer.Option(
            "--max",
            metavar="COLUMN=NUMBER",
            help="Keep rows with at most this value. Repeatable.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    where: Where = None
    distinct: Distinct = False
    distinct_bits: DistinctBits = None
    top: Annotated[
        str | None,
        typer.Option(
            metavar="N|P%",
            help="Keep the best N rows, or P% of the rows (rounded up) that meet the others.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Rank --top and --distinct by this axis or column (default: overall).",
            show_default=False,
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    per: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Apply --top and --distinct within each group: prompt, folder, group or another "
            "column.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    ok_only: Annotated[
        bool,
        typer.Option(
            "--ok-only",
            help="Keep every row without an error.",
            rich_help_panel=CONDITIONS,
        ),
    ] = False
    invert: Annotated[
        bool,
        typer.Option(
            "--invert", help="Keep the rows that do not pass instead.", rich_help_panel=CONDITIONS
        ),
    ] = False


@dataclass(frozen=True)
class PrintOptions:
    """Flags that say how the chosen rows are printed."""

    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", help="End each path with NUL: xargs -0.", rich_help_panel=OUTPUT
        ),
    ] = False
    json: Annotated[
        bool,
        typer.Option("--json", help="Print whole rows as JSON Lines.", rich_help_panel=OUTPUT),
    ] = False


@dataclass(frozen=True)
class BucketOptions:
    """The flag that sorts media into folders."""

    bucket: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            max=100,
            help="Put the media into folders 1 (worst) to N (best) by the quantile of their score "
            "within the prompt, or within each value of --per.",
            rich_help_panel=OUTPUT,
        ),
    ] = None


@dataclass(frozen=True)
class Delivery:
    """The outputs of the chosen rows: stdout, a file, a folder; `media` finds the media."""

    printed: PrintOptions
    result: ResultOptions
    media: MediaFlags
    buckets: BucketOptions
    by: str | None = None
    per: str | None = None

    @property
    def as_json(self) -> bool:
        """True if whole rows are printed."""
        return self.printed.json or self.result.to_stdout

    @property
    def has_ranks(self) -> bool:
        """True if files are put or named by their rank or score."""
        return bool(self.buckets.bucket or self.result.name in ("rank", "score"))

    def naming(self) -> "Naming":
        """Return the rule for file names."""
        from librehps.decide.naming import Naming

        name = self.result.name or "original"
        return Naming(name, self.buckets.bucket, self.by, self.per)

    @property
    def as_paths(self) -> bool:
        """True if paths are printed: with --null, and without any other output."""
        has_output = self.as_json or self.result.output or self.result.folder
        return self.printed.null or not has_output

    def check(self) -> None:
        """Raise UsageError for flags that cannot be combined."""
        self.result.check()
        if self.buckets.bucket and not self.result.folder:
            raise UsageError("--bucket needs a folder", hint="Add --copy-to FOLDER.")
        if self.printed.null and self.as_json:
            raise UsageError(
                "--null: unsupported with JSON Lines; expected paths", hint="Leave out --null."
            )


@examples(
    "librehps filter scores.parquet --min overall=0.6",
    "librehps filter scores.parquet --top 10% --copy-to kept",
)
@grouped
def filter_rows(
    scores: ScoredFiles,
    conditions: ConditionOptions,
    weighing: WeightOptions,
    others: JoinOptions,
    printed: PrintOptions,
    result: ResultOptions,
    buckets: BucketOptions,
    media: MediaFlags,
    quiet: Quiet = False,
) -> None:
    """Print the paths of the media whose scores meet every condition.

    Paths are printed in input order; rows with errors never pass.
    """
    from librehps.decide.filter import filter_rows as keep
    from librehps.decide.weighted_table import WEIGHTED
    from librehps.scores.score_table import read_scores

    by = conditions.by or (WEIGHTED if weighing.weights else None)
    delivery = Delivery(printed, result, media, buckets, by, conditions.per)
    keywords = _conditions(conditions, delivery.has_ranks)
    delivery.check()
    out = Output(quiet, delivery.as_json)
    table = others.join(read_scores(scores), out)
    chosen = keep(table, **keywords, **asdict(weighing))
    copied, missing = _deliver(chosen, delivery, out)
    verb = "do not pass" if conditions.invert else "pass"
    folder = "" if copied is None else f"; {copied.files} files are in {result.folder}"
    failed = 0 if conditions.invert else len(table.errors())
    errors = f"; {counted(failed, 'row')} with errors left out" if failed else ""
    out.note(f"{len(chosen)} of {len(table)} rows {verb}{folder}{errors}")
    lost = max(missing, 0 if copied is None else len(copied.failed))
    raise typer.Exit(exit_code(len(chosen) - lost, lost))


def _conditions(options: ConditionOptions, has_ranks: bool) -> dict[str, Any]:
    """Return the keywords of the library's function; raises UsageError for invalid conditions.

    With `has_ranks`, --by and --per may stand without --top, for the ranks of the files.
    """
    from librehps.decide.distinct import bits_of
    from librehps.decide.filter import check_conditions, parse_limit, parse_top
    from librehps.decide.where import parse_where

    is_chosen = options.top is not None or options.distinct or options.distinct_bits is not None
    if has_ranks and not is_chosen:
        options = replace(options, by=None, per=None)
    least, most, where = options.minimum or [], options.maximum or [], options.where or []
    distinct = distinct_of(options.distinct, options.distinct_bits)
    is_bounded = bool(least or most or where or options.ok_only)
    check_conditions(is_bounded, options.top, options.by, options.per, bits_of(distinct))
    parse_where(where, "--where")
    if options.top is not None:
        parse_top(options.top)
    return {
        "min": [parse_limit(text, "--min") for text in least],
        "max": [parse_limit(text, "--max") for text in most],
        "where": where,
        "distinct": distinct,
        "top": options.top,
        "by": options.by,
        "per": options.per,
        "ok_only": options.ok_only,
        "invert": options.invert,
    }


def _deliver(chosen: "ScoreTable", delivery: Delivery, out: Output) -> tuple["Copied | None", int]:
    """Write the rows to every output; return what was copied, and the number of missing paths.

    Outputs that can fail come before stdout.
    """
    from librehps.decide.copy_media import copy_media, moved_rows
    from librehps.scores.select import media_paths
    from librehps.scores.table import json_lines

    result, null = delivery.result, delivery.printed.null
    hint = None if null else "Use --null, and read the paths with xargs -0."
    if delivery.as_paths:
        # Before anything is copied: a path with a line break cannot be printed.
        media_paths(chosen.source, hint)
    copied = None
    if result.folder is not None:
        flags = {**result.placing, **asdict(delivery.media), "naming": delivery.naming()}
        copied = copy_media(chosen, result.folder, **flags)
        print_uncopied(copied, out)
        print_moved(copied, result.folder, out)
    moved = {} if copied is None else copied.moved
    rows = moved_rows(chosen, moved)
    if result.file is not None:
        rows.write(result.file, overwrite=result.overwrite)
    if delivery.as_json:
        _print(json_lines(rows.source), out)
    if not delivery.as_paths:
        return copied, 0
    paths = media_paths(chosen.source, hint)
    folder, missing = chosen.folder.under(delivery.media.root), list[str]()
    # Chunk by chunk, since the texts of all paths may not fit in memory.
    for chunk in paths.chunks:
        found = folder.found([moved.get(text, text) for text in chunk.to_pylist()])
        _print_paths(found.paths, null, out)
        missing += found.missing
    print_missing(missing, len(paths), out)
    return copied, len(missing)


def _print_paths(paths: Sequence[str], null: bool, out: Output) -> None:
    if not null:
        _print(paths, out)
        return
    sys.stdout.flush()
    for at in range(0, len(paths), MAX_WRITTEN_PATHS):
        chunk = paths[at : at + MAX_WRITTEN_PATHS]
        left = memoryview(os.fsencode("".join(f"{path}\0" for path in chunk)))
        while left:
            # Where Python's output is unbuffered, a write may take a part only.
            left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _print(lines: Iterable[str], out: Output) -> None:
    """Print lines on stdout; into a pipe in large writes."""
    if sys.stdout.isatty():
        for line in lines:
            out.line(line)
        return
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
