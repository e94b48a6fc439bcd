"""Flags that rank by weighted sums of columns, also of other scored files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from librehps.choices import JoinKey, Normalise
from librehps_cli.ui.help import INPUT
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.scores.score_table import ScoreTable

WEIGHTS = "Weights"


@dataclass(frozen=True)
class WeightOptions:
    """Flags that say which columns are added to a score, and how their scales are made alike."""

    weights: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=W,...",
            help="Rank by a weighted sum of axes and columns: overall=1,aesthetic=0.5.",
            rich_help_panel=WEIGHTS,
        ),
    ] = None
    normalise: Annotated[
        Normalise | None,
        typer.Option(
            metavar="prompt|all|none",
            help="Add z-scores of the columns, within each prompt or over all rows (default: none "
            "for axes alone, else prompt).",
            show_default=False,
            rich_help_panel=WEIGHTS,
        ),
    ] = None


@dataclass(frozen=True)
class JoinOptions:
    """Flags that join the columns of other files."""

    with_files: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="[NAME=]FILE",
            help="Join the scores of another model, or a table with numbers for each media or id, "
            "as columns NAME.overall, ... (default: the model's or file's name). Repeatable.",
            rich_help_panel=INPUT,
        ),
    ] = None
    with_key: Annotated[
        JoinKey,
        typer.Option(
            metavar="sha256|media|id",
            help="Join rows with the same value here, and the same prompt (default: the first that "
            "both files have).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = "auto"
    drop_unmatched: Annotated[
        bool,
        typer.Option(
            "--drop-unmatched",
            help="Leave out rows that a --with file lacks or has twice.",
            rich_help_panel=INPUT,
        ),
    ] = False

    def join(self, scores: "ScoreTable", out: Output) -> "ScoreTable":
        """Return the table with the columns of every file, and print how each was joined."""
        if not self.with_files:
            return scores
        from librehps.decide.join import join_scores
        from librehps.decide.join_source import parse_source
        from librehps.settings import JOINED

        before = len(scores.settings.get(JOINED, ()))
        for text in self.with_files:
            name, file = parse_source(text)
            scores = join_scores(
                scores,
                [file] if name is None else {name: file},
                key=self.with_key,
                drop_unmatched=self.drop_unmatched,
            )
        for joined in scores.settings[JOINED][before:]:
            out.note(
                f"{joined['file']}: joined to {joined['rows']:,} rows by {joined['key']}, as "
                f"columns {joined['name']}.*"
            )
        return scores

    def own(self, names: list[str]) -> list[str]:
        """Return the names of columns that are not those of the joined files."""
        return [name for name in names if not (self.with_files and "." in name)]
