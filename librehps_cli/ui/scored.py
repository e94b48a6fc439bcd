"""Scores to decide by: read from scored files, or made now from media."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps_cli.ui.load import score_all
from librehps_cli.ui.options import ModelOptions, PromptOptions, SourceFlags
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps.decide.probability import Platt


@dataclass(frozen=True)
class Scored:
    """An Arrow table of scored rows, errors among them, and what its scores are worth.

    `settings` is the full record, empty where the files do not say; `origin` is how messages call
    the rows.
    """

    table: Any
    settings: dict[str, Any]
    calibrator: "Platt | None"
    origin: str

    @property
    def why_uncalibrated(self) -> str:
        """Why there is no calibrator, where there is none."""
        model = self.settings.get("model")
        if model is None:
            return "the rows do not say which model they are of"
        return f"the calibration.json of {model} is not on this machine"


def scores_of(
    paths: list[str],
    sources: SourceFlags,
    prompts: PromptOptions,
    models: ModelOptions,
    out: Output,
) -> Scored:
    """The rows of scored files as they are, and of anything else by the model."""
    from librehps.errors import UsageError
    from librehps.scores.read import are_scored, origin_of, read_table
    from librehps.scores.table import table_of

    if not are_scored(paths):
        scorer, records = score_all(paths, sources, prompts, models, out)
        calibrator = scorer.calibrator(models.calibration)
        return Scored(table_of(records), scorer.settings.record(), calibrator, "what was scored")
    if prompts.prompt is not None or prompts.prompt_from is not None:
        raise UsageError(
            f"{paths[0]} is scored already, under the prompts in it",
            hint="Leave out --prompt and --prompt-from, or give the media instead.",
        )
    files = [Path(path) for path in paths]
    table, settings = read_table(files)
    return Scored(table, settings, find_calibrator(settings, models), origin_of(files))


def find_calibrator(settings: dict[str, Any], models: ModelOptions) -> "Platt | None":
    """The fit in --calibration, else that of the model which the files name, if it is here.

    Raises CalibrationError where the file given is of another model.
    """
    from librehps.decide.calibrators import load_for

    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    if models.calibration is not None:
        return load_for(models.calibration, model, fingerprint).default
    return None if model is None else _beside_the_model(model, fingerprint, models)


def _beside_the_model(model: str, fingerprint: Any, models: ModelOptions) -> "Platt | None":
    from librehps.decide.calibrators import load_platt_calibrator
    from librehps.errors import ModelError
    from librehps.models.locate import locate
    from librehps.settings import TINY

    for name in (TINY, models.model):
        try:
            located = locate(name, models.revision, download=False)
        except ModelError:
            # Not on this machine: then its calibration is not either.
            continue
        file = located.folder / "calibration.json"
        if located.name == model and file.is_file():
            fit = load_platt_calibrator(file).default
            if fit.fingerprint in (None, fingerprint):
                return fit
    return None
