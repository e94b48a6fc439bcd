"""Scores for a decision: read from scored files, or computed from media."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import PromptFrom
from librehps.decide.calibrators import (
    CALIBRATION_FILE,
    PlattCalibrators,
    load_for,
    load_platt_calibrator,
)
from librehps.decide.probability import Platt
from librehps.errors import ModelError, UsageError
from librehps.items.passed_over import PassedOver
from librehps.items.source import Source, SourceOptions
from librehps.media.remarks import notes_of
from librehps.models.locate import locate
from librehps.runs.kept_scores import KeptScores
from librehps.scores.columns import default_columns, full_columns
from librehps.scores.read import are_scored, check_no_spreadsheet
from librehps.scores.score_table import Scores, ScoreTable, as_score_table, read_scores
from librehps.settings import DEFAULT_MODEL, TINY, Settings
from librehps.types import Item, ScoredRow

if TYPE_CHECKING:
    from librehps.decide.where import Condition
    from librehps.scorer import LibreHPS

log = logging.getLogger("librehps")

# Columns of a row that are known before it is scored: its prompt may change, and with it its group.
ITEM_COLUMNS = ("id", "media")
# Progress hook: takes (rows, total) and yields the rows unchanged.
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Scored:
    """The scored rows, and the calibrator of their model, None if not found.

    `passed_over`: the files and folders that were skipped when media were searched. `is_new`: the
    rows were scored by this call, not read from a file.
    """

    scores: ScoreTable
    calibrator: Platt | None
    passed_over: PassedOver = field(default_factory=PassedOver)
    is_new: bool = False

    @property
    def why_uncalibrated(self) -> str:
        """The reason why `calibrator` is None, for a message."""
        model = self.scores.settings.get("model")
        if model is None:
            return "the scored file does not name its model"
        return f"calibration.json of {model} not found on this machine"

    def check_calibrated(self, purpose: str) -> None:
        """Raise UsageError without a calibrator; `purpose` names the flag that needs one."""
        if self.calibrator is None:
            raise UsageError(
                f"{purpose} needs win probabilities: {self.why_uncalibrated}",
                hint="Copy calibration.json from the model's folder, then use --calibration FILE.",
            )


@dataclass(frozen=True)
class Scoring:
    """The options for scoring media: `load` is called after paths and prompts are checked.

    `model` and `revision` also locate the calibrator of scored files; `axes` are the axes that the
    decision needs, checked before an item is scored. With `hashes` the rows have perceptual hashes.
    `where`: items that do not meet a condition on their id, media or own columns are not
    scored. `check` is given the columns of the rows before they are scored. `joined`: the decision
    joins other files, whose columns conditions may name. `kept`: the scores of an interrupted move,
    which are used again.
    """

    load: "Callable[[], LibreHPS]"
    source: SourceOptions = field(default_factory=SourceOptions)
    prompt: str | None = None
    prompt_from: PromptFrom | None = None
    keep_markup: bool = False
    strip_weights: bool = False
    calibration: Path | None = None
    model: str = DEFAULT_MODEL
    revision: str | None = None
    watch: Watch = lambda rows, total: rows
    axes: Sequence[str] = ()
    hashes: bool = False
    where: "Sequence[Condition]" = ()
    check: Callable[[Sequence[str]], None] = lambda columns: None
    joined: bool = False
    kept: KeptScores | None = None


def read_or_score(paths: Sequence[str], scoring: Scoring) -> Scored:
    """Return the scores in scored files, or score the media at the paths with the model.

    Raises UsageError for a mix of scored files and media, and for a prompt with scored files.
    """
    if not are_scored(paths):
        check_no_spreadsheet(paths)
        kept = None if scoring.kept is None else scoring.kept.read()
        if kept is None:
            return _score_all(paths, scoring)
        return Scored(kept, _calibrator_of(kept, scoring), is_new=True)
    if scoring.prompt is not None or scoring.prompt_from is not None:
        raise UsageError(
            f"--prompt and --prompt-from: not allowed with the scored file {paths[0]}",
            hint="Remove --prompt and --prompt-from, or give the media instead.",
        )
    if scoring.keep_markup or scoring.strip_weights:
        raise UsageError(
            f"--keep-markup and --strip-weights: not allowed with the scored file {paths[0]}",
            hint="Remove these flags: the file has its prompts.",
        )
    scores = read_scores(paths)
    return Scored(scores, _calibrator_of(scores, scoring))


def _calibrator_of(scores: ScoreTable, scoring: Scoring) -> Platt | None:
    return _calibrator(scores, scoring.calibration, (TINY, scoring.model), scoring.revision)


def _score_all(paths: Sequence[str], scoring: Scoring) -> Scored:
    """Score every item of the paths into a table in memory."""
    # Imported here: reading scored files must not import torch.
    from librehps.items.prompts import find_prompts

    source = Source(paths, scoring.source.for_prompts(scoring.prompt, scoring.prompt_from))
    source.check_prompts(scoring.prompt, scoring.prompt_from)
    finder = find_prompts(
        scoring.prompt,
        scoring.prompt_from,
        source.has_prompts,
        scoring.keep_markup,
        scoring.strip_weights,
    )
    items = list(source.items())
    passed_over = source.passed_over
    for note in passed_over.notes():
        log.warning(note)
    scorer = scoring.load()
    own = {name for item in items for name in item.extra}
    unknown = [name for name in scoring.axes if name not in scorer.axes and name not in own]
    if unknown:
        raise UsageError(
            f"no axis {', '.join(unknown)}", hint=f"There are: {', '.join(scorer.axes)}."
        )
    scoring.check([*default_columns(scorer.axes), *sorted(own)])
    calibrator = scorer.calibrator(scoring.calibration)
    items = _meeting(items, scoring, scorer.settings)
    remarks: Counter[str] = Counter()
    engine = scorer.engine(finder, cache=None, hashes=scoring.hashes)
    rows = scoring.watch(_counted(engine.run(items), remarks), len(items))
    scores = ScoreTable.from_rows(rows, scorer.settings)
    for note in notes_of(remarks, scorer.settings):
        log.warning(note)
    return Scored(scores, calibrator, passed_over, is_new=True)


def _meeting(items: list[Item], scoring: Scoring, settings: Settings) -> list[Item]:
    """Return the items that meet the conditions on columns known before scores are.

    Raises UsageError for a column that no row will have, and NothingScoredError for no item.
    """
    if not scoring.where:
        return items
    # pyarrow is imported when it is used.
    from librehps.decide.where import check_any, meeting
    from librehps.scores.select import place_of

    table = ScoreTable.from_rows((ScoredRow(item, item.kind, None) for item in items), settings)
    early, scored = [], set(full_columns(settings.axes)).difference(ITEM_COLUMNS)
    for condition in scoring.where:
        name = condition.column
        if name not in scored and name in table.columns:
            early.append(condition)
        elif not (name in scored or (scoring.joined and "." in name)):
            place_of(table.source, name, table.columns)
    mask = meeting(table.source, early)
    check_any(mask, early, "the items")
    return list(compress(items, mask.tolist()))


def _counted(rows: Iterable[ScoredRow], remarks: Counter[str]) -> Iterator[ScoredRow]:
    """Yield the rows, and count their remarks."""
    for row in rows:
        remarks.update(row.remarks)
        yield row


def find_calibrator(
    scores: Scores,
    calibration: str | Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    revision: str | None = None,
) -> Platt | None:
    """Return the calibrator of win probabilities for a score table, None if not found.

    Read from the file `calibration` where given, else from the folder of the table's model if it
    is on this machine (the built-in model, or `model`). Raises CalibrationError for a file of
    another model.
    """
    given = None if calibration is None else Path(calibration)
    return _calibrator(as_score_table(scores), given, (TINY, model), revision)


def find_calibrators(
    scores: ScoreTable,
    calibration: Path | None = None,
    *,
    model: str = DEFAULT_MODEL,
    revision: str | None = None,
) -> PlattCalibrators | None:
    """Return the fits of all benchmarks like `find_calibrator`."""
    return _calibrators(scores, calibration, (TINY, model), revision)


def _calibrator(
    scores: ScoreTable, calibration: Path | None, models: Sequence[str], revision: str | None
) -> Platt | None:
    found = _calibrators(scores, calibration, models, revision)
    return None if found is None else found.default


def _calibrators(
    scores: ScoreTable, calibration: Path | None, models: Sequence[str], revision: str | None
) -> PlattCalibrators | None:
    settings: Mapping[str, Any] = scores.settings
    model, fingerprint = settings.get("model"), settings.get("fingerprint")
    if calibration is not None:
        return load_for(calibration, model, fingerprint)
    return None if model is None else _from_models(model, fingerprint, models, revision)


def _from_models(
    model: str, fingerprint: Any, names: Sequence[str], revision: str | None
) -> PlattCalibrators | None:
    """Return the fits in the model's folder, if one of `names` is this model on this machine."""
    for name in names:
        try:
            located = locate(name, revision, download=False)
        except ModelError:
            # A model that is not on this machine has no calibration here.
            continue
        file = located.folder / CALIBRATION_FILE
        if located.name == model and file.is_file():
            fits = load_platt_calibrator(file)
            if fits.default.fingerprint in (None, fingerprint):
                return fits
    return None
