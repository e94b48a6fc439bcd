"""librehps leaderboard: a ranking of generators over shared prompts."""

import json as jsonlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps_cli.ui.conditions import Where
from librehps_cli.ui.evaluation_tables import print_markdown, print_tables
from librehps_cli.ui.help import MORE, examples
from librehps_cli.ui.leaderboard_tables import board_tables, need_tables, undecided, validity
from librehps_cli.ui.options import Json, Markdown, Quiet, ScoredFiles, grouped
from librehps_cli.ui.output import Output, shorten
from librehps_cli.ui.result_options import OutputOptions
from librehps_cli.ui.weighing import JoinOptions, WeightOptions

if TYPE_CHECKING:
    from librehps.decide.standings import Leaderboard

# More generators than these are counted in a note instead of named.
MAX_NAMED_GENERATORS = 8
RANKING = "Ranking"


@examples(
    "librehps leaderboard scores.parquet --by generator",
    "librehps leaderboard scores.parquet --by folder --markdown",
)
@grouped
def leaderboard(
    scores: ScoredFiles,
    result: OutputOptions,
    weighing: WeightOptions,
    others: JoinOptions,
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column with the generator's name; `folder`: the first folder of the id.",
            rich_help_panel=RANKING,
        ),
    ],
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS",
            help="Rank by this axis (default: all axes). Repeatable.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Rank also within each value of this column.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Include only this generator. Repeatable.", rich_help_panel=RANKING
        ),
    ] = None,
    target_width: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Say how many more prompts or samples narrow the 95 % interval of each win rate "
            "to this width: 0.1 is 5 points on either side.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    sequential: Annotated[
        bool | None,
        typer.Option(
            "--sequential/--fixed",
            help="Show intervals of win rates that hold whenever you stop adding prompts (default "
            "with --target-width), or that hold for one look.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    where: Where = None,
    resamples: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=100,
            help="Bootstrap resamples for the intervals.",
            rich_help_panel=MORE,
        ),
    ] = 2000,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Random seed of the resamples.", rich_help_panel=MORE
        ),
    ] = 0,
    markdown: Markdown = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Rank generators over the prompts that they share, with tests of significance."""
    from librehps.decide.leaderboard import leaderboard as run
    from librehps.decide.where import parse_where, rows_where
    from librehps.extras import require
    from librehps.scores.score_table import read_scores

    require("evaluate", "librehps leaderboard")
    result.check()
    out = Output(quiet, True if result.to_stdout else json)
    conditions = parse_where(where or (), "--where")
    table = rows_where(others.join(read_scores(scores), out), conditions)
    keywords: dict[str, Any] = asdict(weighing)
    keywords |= {"target_width": target_width, "sequential": sequential}
    found = run(table, by, axis, category, resamples, seed, only=only or (), **keywords)
    _write(found, table.settings, result, out)
    if not result.to_stdout:
        _print(found, markdown, out)
    _warn(found, result, out)


def _write(
    found: "Leaderboard", settings: Mapping[str, Any], result: OutputOptions, out: Output
) -> None:
    from librehps.scores.table import json_lines, write_table

    if result.to_stdout:
        for line in json_lines(found.to_arrow()):
            out.line(line)
    elif result.file is not None:
        write_table(found.to_arrow(), dict(settings), result.file)


def _print(found: "Leaderboard", markdown: bool, out: Output) -> None:
    if markdown:
        print_markdown([*board_tables(found), *need_tables(found)], out)
    elif out.json:
        for record in found.records():
            out.line(jsonlib.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        tables = board_tables(found, out.width)
        print_tables(tables[:2], out)
        for line in undecided(found.boards[0], out.width):
            out.text(line)
        print_tables(need_tables(found), out)
        print_tables(tables[2:], out)


def _warn(found: "Leaderboard", result: OutputOptions, out: Output) -> None:
    if found.boards[0].needs:
        out.note(validity(found))
        if result.to_stdout:
            out.note(
                "warning: the rows hold no intervals of win rates: use --json without --output"
            )
    counts = {"prompts that not every generator has": found.unshared}
    counts["rows with errors"] = {s.generator: s.errors for s in found.boards[0].standings}
    for reason, by_generator in counts.items():
        some = {name: count for name, count in by_generator.items() if count}
        named = [
            f"{shorten(name, 40)} {count}"
            for name, count in list(some.items())[:MAX_NAMED_GENERATORS]
        ]
        if len(some) > MAX_NAMED_GENERATORS:
            named.append(f"and {len(some) - MAX_NAMED_GENERATORS} more generators")
        if some:
            out.note(f"warning: skipped {reason}: {', '.join(named)}")
