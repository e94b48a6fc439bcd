"""librehps leaderboard: generators against each other over shared prompts."""

import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps_cli.ui.evaluation_tables import print_tables, to_markdown
from librehps_cli.ui.leaderboard_tables import board_tables, undecided
from librehps_cli.ui.options import Json, Quiet, grouped
from librehps_cli.ui.output import Output, shorten
from librehps_cli.ui.result_options import OutputOptions

if TYPE_CHECKING:
    from librehps.decide.standings import Leaderboard

# Generators that a note names before it only counts them.
NAMED = 8


@grouped
def leaderboard(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scored files, folders of parts, or - for JSON Lines on stdin."),
    ],
    result: OutputOptions,
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="The column that names the generator; `folder`, unless a column is called so, is "
            "the first folder of the id.",
        ),
    ],
    axis: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS", help="overall, alignment, ... (default: all). Repeatable."),
    ] = None,
    category: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Also within each value of this column.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="GENERATOR", help="Leave out all others. Repeatable."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Of the prompts, for intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of these resamples.")] = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Rank generators over the prompts that all of them have, and say what is significant."""
    from librehps.decide.leaderboard import leaderboard as run
    from librehps.extras import require
    from librehps.scores.score_table import read_scores

    require("evaluate", "librehps leaderboard")
    result.check()
    out = Output(quiet, True if result.to_stdout else json)
    table = read_scores(scores)
    found = run(table, by, axis, category, resamples, seed, only=only or ())
    _write(found, table.settings, result, out)
    if not result.to_stdout:
        _print(found, markdown, out)
    _warn(found, out)


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
        for line in to_markdown(board_tables(found)).split("\n"):
            out.line(line)
    elif out.json:
        for record in found.records():
            out.line(jsonlib.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        tables = board_tables(found, out.width)
        print_tables(tables[:2], out)
        for line in undecided(found.boards[0], out.width):
            out.text(line)
        print_tables(tables[2:], out)


def _warn(found: "Leaderboard", out: Output) -> None:
    counts = {"prompts that others lack": found.unshared}
    counts["rows with errors"] = {s.generator: s.errors for s in found.boards[0].standings}
    for what, by_generator in counts.items():
        some = {name: count for name, count in by_generator.items() if count}
        named = [f"{shorten(name, 40)} {count}" for name, count in list(some.items())[:NAMED]]
        if len(some) > NAMED:
            named.append(f"and of {len(some) - NAMED} more generators")
        if some:
            out.note(f"warning: {what} do not count: {', '.join(named)}")
