"""Scores to decide by: read from scored files, or made now from media."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import PromptFrom
from librehps.decide.calibrators import load_for, load_platt_calibrator
from librehps.decide.probability import Platt
from librehps.errors import ModelError, UsageError
from librehps.items.source import Source, SourceOptions
from librehps.models.locate import locate
from librehps.scores.read import are_scored
from librehps.scores.score_table import Scores, ScoreTable, as_score_table, read_scores
from librehps.settings import DEFAULT_MODEL, TINY

if TYPE_CHECKING:
    from librehps.scorer import LibreHPS

log = logging.getLogger("librehps")

# Shows progress: the rows again, one by one, of so many.
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Scored:
    """Scored rows, and the calibrator of their model where there is one."""

    scores: ScoreTable
    calibrator: Platt | None

    @property
    def why_uncalibrated(self) -> str:
        """Why there is no calibrator, where there is none."""
        model = self.scores.settings.get("model")
        if model is None:
            return "the rows do not say which model they are of"
        return f"the calibration.json of {model} is not on this machine"

    def check_calibrated(self, purpose: str) -> None:
        """Raise UsageError where there is no calibrator, for what needs win probabilities."""
        if self.calibrator is None:
            raise UsageError(
                f"{purpose} needs win probabilities: {self.why_uncalibrated}",
                hint="Copy calibration.json from the model's folder, and give it by --calibration.",
            )


@dataclass(frozen=True)
class Scoring:
    """How media become scores: `load` gives the model once the paths and prompts make sense.

    `model` and `revision` are where the calibrator of scored files is looked for too; `axes` are
    the ones that the decision needs, which are checked before anything is scored.
    """

    load: "Callable[[], LibreHPS]"
    source: SourceOptions = field(default_factory=SourceOptions)
    prompt: str | None = None
    prompt_from: PromptFrom | None = None
    calibration: Path | None = None
    model: str = DEFAULT_MODEL
    revision: str | None = None
    watch: Watch = lambda rows, total: rows
    axes: Sequence[str] = ()


def read_or_score(paths: Sequence[str], scoring: Scoring) -> Scored:
    """Read scored files as they are, and score anything else with the model.

    Raises UsageError where the paths mix both, and for a prompt beside scored files.
    """
    if not are_scored(paths):
        scorer, scores = score_all(paths, scoring)
        return Scored(scores, scorer.calibrator(scoring.calibration))
    if scoring.prompt is not None or scoring.prompt_from is not None:
        raise UsageError(
            f"{paths[0]} is scored already, under the prompts in it",
            hint="Leave out --prompt and --prompt-from, or give the media instead.",
        )
    scores = read_scores(paths)
    models = (TINY, scoring.model)
    return Scored(scores, _calibrator(scores, scoring.calibration, models, scoring.revision))


def score_all(paths: Sequence[str], scoring: Scoring) -> tuple["LibreHPS", ScoreTable]:
    """Score every item of the paths into one table in memory; returns the model too."""
    # Scored files are read without torch, which reading pixels needs.
    from librehps.items.prompts import find_prompts

    source = Source(paths, scoring.source)
    finder = find_prompts(scoring.prompt, scoring.prompt_from, source.has_prompts)
    items = list(source.items())
    if source.skipped:
        log.warning("%d files of other kinds were skipped", source.skipped)
    scorer = scoring.load()
    unknown = [axis for axis in scoring.axes if axis not in scorer.axes]
    if unknown:
        raise UsageError(
            f"no axis {', '.join(unknown)}", hint=f"There are: {', '.join(scorer.axes)}."
        )
    rows = scoring.watch(scorer.engine(finder).run(items), len(items))
    return scorer, ScoreTable.from_rows(rows, scorer.settings)


def find_calibrator(
    scores: Scores,
    calibration: str | Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    revision: str | None = None,
) -> Platt | None:
    """Return the fit of win probabilities for a score table, None where there is none.

    Read from the file `calibration` where given, else from the folder of the model that the table
    names, where that is on this machine (the built-in one, or `model`). Raises CalibrationError
    where the file is of another model.
    """
    given = None if calibration is None else Path(calibration)
    return _calibrator(as_score_table(scores), given, (TINY, model), revision)


def _calibrator(
    scores: ScoreTable, calibration: Path | None, models: Sequence[str], revision: str | None
) -> Platt | None:
    settings: Mapping[str, Any] = scores.settings
    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    if calibration is not None:
        return load_for(calibration, model, fingerprint).default
    return None if model is None else _from_models(model, fingerprint, models, revision)


def _from_models(
    model: str, fingerprint: Any, names: Sequence[str], revision: str | None
) -> Platt | None:
    """The fit in the folder of the model, where one of the names finds that model here."""
    for name in names:
        try:
            located = locate(name, revision, download=False)
        except ModelError:
            # Not on this machine: then its calibration is not either.
            continue
        file = located.folder / "calibration.json"
        if located.name == model and file.is_file():
            fit = load_platt_calibrator(file).default
            if fit.fingerprint in (None, fingerprint):
                return fit
    return None
