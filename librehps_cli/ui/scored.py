"""Scores for commands that take scored files or media."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from librehps_cli.ui.load import load_scorer, prompt_keywords, source_options
from librehps_cli.ui.options import PromptOptions, SourceFlags
from librehps_cli.ui.output import Output
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps.decide.where import Condition
    from librehps.runs.kept_scores import KeptScores
    from librehps.runs.scored import Scored


def scores_of(
    paths: list[str],
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ScoringOptions,
    out: Output,
    axes: Sequence[str] = (),
    *,
    hashes: bool = False,
    where: "Sequence[Condition]" = (),
    check: "Callable[[Sequence[str]], None]" = lambda columns: None,
    joined: bool = False,
    kept: "KeptScores | None" = None,
) -> "Scored":
    """Return the rows of scored files; paths of media are scored with the model.

    With `hashes` these have perceptual hashes; media that do not meet `where` are not scored, as
    far as that is known before. `check` is given the columns of the rows before they are scored.
    `joined`: other files are joined to the rows. `kept`: the scores of
    an interrupted move.
    """
    from librehps.runs.scored import Scoring, read_or_score

    scoring = Scoring(
        load=lambda: load_scorer(models, prompts, out),
        source=source_options(sources),
        **prompt_keywords(prompts),
        calibration=models.calibration,
        model=models.model,
        revision=models.revision,
        watch=out.progress,
        axes=axes,
        hashes=hashes,
        where=where,
        check=check,
        joined=joined,
        kept=kept,
    )
    return read_or_score(paths, scoring)


def kept_scores(
    folder: Path | None,
    paths: list[str],
    options: Sequence[PromptOptions | SourceFlags | ScoringOptions],
    *others: object,
) -> "KeptScores | None":
    """Return where scores are kept while media are moved to `folder`, None if they are not moved.

    `options` and `others` are what the scores depend on.
    """
    from librehps.runs.kept_scores import KeptScores

    if folder is None:
        return None
    return KeptScores(folder, [paths, *map(asdict, options), *others])
