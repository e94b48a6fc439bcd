"""librehps explain: what words, regions and frames do to a score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.choices import ExplainBy
from librehps_cli.ui.errors import exit_code
from librehps_cli.ui.explanation import print_explanation
from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.load import load_scorer, prompt_keywords
from librehps_cli.ui.options import (
    Json,
    ModelOptions,
    Overwrite,
    PromptOptions,
    Quiet,
    choices,
    grouped,
)
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.explain.explanation import Explanation


@examples(
    "librehps explain examples/media/wrong_colour.png -m tiny --prompt-from sidecar",
    "librehps explain examples/media/torn.png -m tiny --prompt-from sidecar --by regions"
    " -o why.html",
)
@grouped
def explain(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="MEDIA...", help="Images and videos.", show_default=False),
    ],
    prompts: PromptOptions,
    models: ModelOptions,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS",
            help=f"Explain by {choices(ExplainBy)}: one, or several with commas (default: "
            "words,regions of an image, words,frames of a video).",
            show_default=False,
        ),
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS",
            help="Axis to explain (default: alignment by words, coherence by regions, temporal by "
            "frames).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a page (.html), or the map over one picture (.png).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Show what each word of the prompt and each region or frame does to a score.

    Parts are left out or replaced, and the rest is scored again: the model is explained, not the
    picture.
    """
    from librehps.explain.write import check_explanation_file, parts_for, write_explanations
    from librehps.runs.explain import Unexplained, explain_media

    out = Output(quiet, json)
    if output is not None:
        check_explanation_file(output, overwrite, len(paths))
    rows = explain_media(
        paths,
        **prompt_keywords(prompts),
        model=lambda: load_scorer(models, prompts, out),
        axis=axis,
        by=parts_for(output, by),
    )
    found: list[Explanation] = []
    failed = 0
    for row in out.progress(rows, len(paths), "explaining"):
        if isinstance(row, Unexplained):
            failed += 1
            out.error(f"{row.media}: {row.error} ({type(row.error).__name__})")
        elif output is not None:
            found.append(row)
        if out.json:
            out.records([row.record()])
        elif not isinstance(row, Unexplained):
            print_explanation(row, out)
    if output is not None and found:
        write_explanations(found, output, overwrite)
        out.note(f"wrote {output}")
    raise typer.Exit(exit_code(len(paths) - failed, failed))
