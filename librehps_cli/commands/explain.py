"""librehps explain: what words, regions and frames do to a score."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.choices import ExplainBy
from librehps.files import counted
from librehps_cli.ui.errors import INTERRUPTED, exit_code, row_error
from librehps_cli.ui.explanation import print_explanation
from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.load import load_scorer, prompt_keywords, source_keywords
from librehps_cli.ui.options import (
    Json,
    ModelOptions,
    Overwrite,
    PromptOptions,
    Quiet,
    SourceFlags,
    choices,
    grouped,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.progress import stopping
from librehps_cli.ui.scoring_options import ExplainOptions

if TYPE_CHECKING:
    from librehps.explain.explanation import Explanation
    from librehps.explain.unexplained import Unexplained


@examples(
    "librehps explain examples/media/wrong_colour.png -m tiny --prompt-from sidecar",
    "librehps explain examples/media/torn.png -m tiny --prompt-from sidecar --by regions"
    " -o why.html",
)
@grouped
def explain(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MEDIA...",
            help="Images, videos, folders, globs, manifests or tars.",
            show_default=False,
        ),
    ],
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ExplainOptions,
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
    from librehps.runs.explain import explain_media

    out = Output(quiet, json)
    if output is not None:
        check_explanation_file(output, overwrite, len(paths))
    shown = Shown(out, output)
    told = explain_media(
        paths,
        **prompt_keywords(prompts),
        model=lambda: load_scorer(ModelOptions(**vars(models)), prompts, out),
        axis=axis,
        by=parts_for(output, by),
        watch=shown.told,
        **source_keywords(sources),
    )
    with stopping(shown.stop, out, "item"):
        if output is None:
            deque(told, maxlen=0)
        elif write_explanations(told, output, overwrite):
            out.note(f"wrote {output}")
    raise typer.Exit(shown.exit_code())


@dataclass
class Shown:
    """The explanations that were printed so far, and the event that ends them early."""

    out: Output
    output: Path | None
    total: int = 0
    stop: Event = field(default_factory=Event)
    ok: int = 0
    failed: int = 0

    def told(
        self, rows: "Iterable[Explanation | Unexplained]", total: int
    ) -> "Iterator[Explanation | Unexplained]":
        """Yield each row once it is printed, until `stop` is set."""
        from librehps.explain.write import check_explanation_file

        self.total = total
        if self.output is not None:
            check_explanation_file(self.output, True, total)
        for row in self.out.progress(rows, total, "explaining"):
            self._print(row)
            yield row
            if self.stop.is_set():
                return

    def _print(self, row: "Explanation | Unexplained") -> None:
        from librehps.explain.unexplained import Unexplained

        if isinstance(row, Unexplained):
            self.failed += 1
            self.out.error(row_error(row.media, str(row.error), type(row.error).__name__))
        else:
            self.ok += 1
        if self.out.json:
            self.out.records([row.record()])
        elif not isinstance(row, Unexplained):
            print_explanation(row, self.out)

    def exit_code(self) -> int:
        """Return the exit code; an early end is told with the number of items that are left."""
        left = self.total - self.ok - self.failed
        if self.stop.is_set() and left:
            self.out.note(f"interrupted: {counted(left, 'item')} not explained")
            return INTERRUPTED
        return exit_code(self.ok, self.failed)
