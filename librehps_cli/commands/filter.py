"""librehps filter: the rows of scored files that meet conditions."""

import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.errors import UsageError
from librehps_cli.ui.options import Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.result_options import RESULT, ResultOptions, media_paths

if TYPE_CHECKING:
    from librehps.decide.filter import Limit, Top

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
    limits, top = _conditions(conditions)
    delivery = Delivery(printed, result)
    delivery.check()
    from librehps.decide.filter import passing
    from librehps.scores.read import origin_of, read_table
    from librehps.scores.select import check_scored

    out = Output(quiet, delivery.as_json)
    table, settings = read_table(scores)
    check_scored(table, origin_of(scores))
    mask = passing(table, limits, top)
    chosen = table.filter(~mask if conditions.invert else mask)
    _deliver(chosen, settings, delivery, out)
    verb = "do not pass" if conditions.invert else "pass"
    out.note(f"{len(chosen)} of {len(table)} rows {verb}")


def _conditions(options: ConditionOptions) -> tuple[list["Limit"], "Top | None"]:
    if options.top is None and (options.by is not None or options.per is not None):
        raise UsageError("--by and --per say how --top chooses", hint="Give --top too.")
    asked = options.minimum or options.maximum or options.top is not None or options.ok_only
    if not asked:
        raise UsageError("no condition is given", hint="Give --min, --max, --top or --ok-only.")
    limits = [_limit(text, True) for text in options.minimum or ()]
    limits += [_limit(text, False) for text in options.maximum or ()]
    return limits, None if options.top is None else _top(options.top, options)


def _limit(text: str, is_least: bool) -> "Limit":
    from librehps.decide.filter import Limit

    column, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not column or not math.isfinite(value):
        raise UsageError(f"{text!r} is no limit", hint="Write it like overall=0.6.")
    return Limit(column, value, is_least)


def _top(text: str, options: ConditionOptions) -> "Top":
    from librehps.decide.filter import Top

    share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
    percent = Fraction(share[1]) if share else None
    count = int(text) if re.fullmatch(r"[0-9]+", text) else None
    if not count and (percent is None or not 0 < percent <= 100):
        raise UsageError(
            f"--top {text!r} is neither a number of rows nor a percentage",
            hint="Write --top 100 or --top 10%.",
        )
    return Top(count, percent, options.by or "overall", options.per)


def _deliver(table: Any, settings: dict[str, Any], delivery: Delivery, out: Output) -> None:
    """The rows go everywhere they were asked for; what can fail comes first."""
    from librehps.scores.table import json_lines, write_table

    result, null = delivery.result, delivery.printed.null
    otherwise = None if null else "Use --null, and xargs -0 to read it."
    paths = media_paths(table, otherwise) if delivery.as_paths else None
    if result.folder is not None:
        _place(table, result, result.folder)
    if result.file is not None:
        write_table(table, settings, result.file)
    if delivery.as_json:
        _print(json_lines(table), out)
    if paths is not None:
        _print_paths(paths, null, out)


def _place(table: Any, result: ResultOptions, folder: Path) -> None:
    from librehps.decide.copy_media import place
    from librehps.scores.select import text_column

    ids = text_column(table, "id")
    if ids.null_count:
        raise UsageError("a row without an id cannot be placed by it")
    place(media_paths(table).to_pylist(), ids.to_pylist(), folder, folder == result.link_to)


def _print_paths(paths: Any, null: bool, out: Output) -> None:
    if not null:
        _print((path for chunk in paths.chunks for path in chunk.to_pylist()), out)
        return
    sys.stdout.flush()
    for chunk in paths.chunks:
        sys.stdout.buffer.write("".join(f"{path}\0" for path in chunk.to_pylist()).encode())
    sys.stdout.buffer.flush()


def _print(lines: Iterable[str], out: Output) -> None:
    """Lines of data on stdout, for a pipe many at once."""
    if sys.stdout.isatty():
        for line in lines:
            out.line(line)
        return
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
