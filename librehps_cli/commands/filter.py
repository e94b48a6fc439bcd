"""librehps filter: the rows of scored files that meet conditions."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.errors import UsageError
from librehps_cli.ui.options import Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.result_options import RESULT, ResultOptions

if TYPE_CHECKING:
    from librehps.scores.score_table import ScoreTable

CONDITIONS = "Conditions"


@dataclass(frozen=True)
class ConditionOptions:
    """Which rows pass."""

    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--min",
            metavar="COLUMN=VALUE",
            help="At least this: overall=0.6, overall_mu=1, or a column of yours. Repeatable.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    maximum: Annotated[
        list[str] | None,
        typer.Option(
            "--max",
            metavar="COLUMN=VALUE",
            help="At most this. Repeatable.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    top: Annotated[
        str | None,
        typer.Option(
            metavar="N|P%",
            help="The best N, or P% rounded up, of the rows within --min and --max.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            help="What --top ranks by: an axis (its mu) or a column (default: overall).",
            show_default=False,
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    per: Annotated[
        str | None,
        typer.Option(
            help="--top within each prompt, group or value of a column.",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    ok_only: Annotated[
        bool,
        typer.Option(
            "--ok-only",
            help="Every row without an error (no other passes any condition).",
            rich_help_panel=CONDITIONS,
        ),
    ] = False
    invert: Annotated[
        bool,
        typer.Option(
            "--invert", help="The rows that do not pass instead.", rich_help_panel=CONDITIONS
        ),
    ] = False


@dataclass(frozen=True)
class PrintOptions:
    """How the chosen rows are printed."""

    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Paths end in NUL: xargs -0.", rich_help_panel=RESULT),
    ] = False
    json: Annotated[
        bool,
        typer.Option("--json", help="Whole rows as JSON Lines.", rich_help_panel=RESULT),
    ] = False


@dataclass(frozen=True)
class Delivery:
    """Everywhere the chosen rows go."""

    printed: PrintOptions
    result: ResultOptions

    @property
    def as_json(self) -> bool:
        return self.printed.json or self.result.to_stdout

    @property
    def as_paths(self) -> bool:
        """Paths are printed unless the rows go somewhere else."""
        elsewhere = self.as_json or self.result.output or self.result.folder
        return self.printed.null or not elsewhere

    def check(self) -> None:
        self.result.check()
        if self.printed.null and self.as_json:
            raise UsageError("--null ends paths, and JSON Lines are not paths")


@grouped
def filter_rows(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scored files, folders of parts, or - for JSON Lines on stdin."),
    ],
    conditions: ConditionOptions,
    printed: PrintOptions,
    result: ResultOptions,
    quiet: Quiet = False,
) -> None:
    """Print the paths of the media whose scores meet every condition, in input order."""
    from librehps.decide.filter import filter_rows as keep
    from librehps.scores.score_table import read_scores

    keywords = _conditions(conditions)
    delivery = Delivery(printed, result)
    delivery.check()
    out = Output(quiet, delivery.as_json)
    table = read_scores(scores)
    chosen = keep(table, **keywords)
    _deliver(chosen, delivery, out)
    verb = "do not pass" if conditions.invert else "pass"
    out.note(f"{len(chosen)} of {len(table)} rows {verb}")


def _conditions(options: ConditionOptions) -> dict[str, Any]:
    """Keywords of the library's function; raises UsageError before anything is read."""
    from librehps.decide.filter import check_conditions, parse_limit, parse_top

    least, most = options.minimum or [], options.maximum or []
    check_conditions(bool(least or most or options.ok_only), options.top, options.by, options.per)
    if options.top is not None:
        parse_top(options.top)
    return {
        "min": [parse_limit(text) for text in least],
        "max": [parse_limit(text) for text in most],
        "top": options.top,
        "by": options.by,
        "per": options.per,
        "ok_only": options.ok_only,
        "invert": options.invert,
    }


def _deliver(chosen: "ScoreTable", delivery: Delivery, out: Output) -> None:
    """The rows go everywhere they were asked for; what can fail comes first."""
    from librehps.decide.copy_media import copy_media
    from librehps.scores.select import media_paths
    from librehps.scores.table import json_lines

    result, null = delivery.result, delivery.printed.null
    otherwise = None if null else "Use --null, and xargs -0 to read it."
    paths = media_paths(chosen.table, otherwise) if delivery.as_paths else None
    if result.folder is not None:
        copy_media(chosen, result.folder, link=result.folder == result.link_to)
    if result.file is not None:
        chosen.write(result.file, overwrite=result.overwrite)
    if delivery.as_json:
        _print(json_lines(chosen.table), out)
    if paths is not None:
        _print_paths(paths, null, out)


def _print_paths(paths: Any, null: bool, out: Output) -> None:
    if not null:
        _print((path for chunk in paths.chunks for path in chunk.to_pylist()), out)
        return
    sys.stdout.flush()
    for chunk in paths.chunks:
        left = memoryview("".join(f"{path}\0" for path in chunk.to_pylist()).encode())
        while left:
            # Where Python's output is unbuffered, a write may take a part only.
            left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _print(lines: Iterable[str], out: Output) -> None:
    """Lines of data on stdout, for a pipe many at once."""
    if sys.stdout.isatty():
        for line in lines:
            out.line(line)
        return
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
