"""Join preferences to scores of a score table, or to scores of media that a model scores."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from librehps.choices import Split, check_choice
from librehps.decide.calibrators import PlattCalibrators, load_for
from librehps.evaluate.calibration import fits
from librehps.evaluate.scored_pairs import MediaScore, ScoredPairs, join, scores_in, scores_of
from librehps.preferences.media import Key, items_of
from librehps.preferences.pairs import Preferences
from librehps.scores.columns import PHASH, full_columns
from librehps.scores.row import to_full_record
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.writer import open_sink
from librehps.settings import Settings
from librehps.types import Item, ScoredRow

# Progress hook: takes (rows, total) and yields the rows unchanged.
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


class Scorer(Protocol):
    """The part of `LibreHPS` that scores the media of preferences."""

    settings: Settings

    def score_items(self, items: Iterable[Item]) -> Iterator[ScoredRow]: ...

    def calibrators(self, path: str | Path | None = None) -> PlattCalibrators | None: ...


@dataclass(frozen=True)
class Judged:
    """The pairs with preferences and scores, and the model of the scores.

    `preferences` are all pairs of the file, `pairs` the pairs with scores; `left_out` counts the
    other pairs by reason. `failed` are the media that could not be scored.
    """

    preferences: Preferences
    pairs: ScoredPairs
    model: str | None
    fingerprint: str | None
    settings: str | None
    calibrators: PlattCalibrators | None
    failed: Sequence[ScoredRow]
    left_out: Mapping[str, int]

    def is_held_out(self, split: Split = "auto") -> bool:
        """Return True if `split` leaves out the pairs for fitting; auto: if calibrated."""
        check_choice(split, Split, "split")
        return split == "held-out" or (split == "auto" and self.calibrators is not None)

    def reason(self, split: Split = "auto") -> str:
        """Return which pairs a split has, and why, as text."""
        known, used = len(self.pairs), len(self.chosen(split))
        counts = f"{used} of {known} pairs" if used < known else f"all {known} pairs"
        if self.is_held_out(split) and used == known:
            return f"{counts}: none is in the tenth that a calibration is fitted on"
        if self.is_held_out(split):
            other = f"the other {known - used} may be those that a calibration was fitted on"
            return f"{counts}: held out; {other}"
        if self.calibrators is not None:
            return f"{counts}, also those that the calibration may have been fitted on"
        return f"{counts}: there is no calibration, so that none are held out"

    def chosen(self, split: Split = "auto") -> ScoredPairs:
        """Return the pairs of a split."""
        return self.pairs.where(~fits(self.pairs)) if self.is_held_out(split) else self.pairs


def judge_table(
    preferences: Preferences,
    scores: Scores,
    calibration: str | Path | PlattCalibrators | None = None,
) -> Judged:
    """Join preferences to the scores of a table, by media path and prompt.

    `calibration` is a file, or the fits of `librehps.runs.scored.find_calibrators`. Raises
    PreferenceError if no pair has both scores, and CalibrationError if the file and the scores are
    of different models.
    """
    given = as_score_table(scores)
    left_out = Counter(preferences.left_out)
    prompts = {pair.prompt for pair in preferences.pairs}
    scored = scores_in(given.source, given.origin, given.folder, prompts)
    pairs = join(preferences.pairs, scored, left_out)
    model, fingerprint = given.settings.get("model"), given.settings.get("fingerprint")
    fit = calibration if isinstance(calibration, PlattCalibrators) else None
    if isinstance(calibration, str | Path):
        fit = load_for(Path(calibration), model, fingerprint)
    return Judged(
        preferences=preferences,
        pairs=pairs,
        model=model,
        fingerprint=fingerprint,
        settings=given.digest,
        calibrators=fit,
        failed=(),
        left_out=dict(left_out),
    )


def judge_media(
    preferences: Preferences,
    scorer: Scorer,
    calibration: str | Path | None = None,
    *,
    save_scores: Path | None = None,
    watch: Watch = lambda rows, total: rows,
) -> Judged:
    """Score every media of the preferences once, and join the scores to the pairs.

    `save_scores` is a file to write the scores to, with all columns. Raises like `judge_table`.
    """
    # An unreadable calibration is an error before anything is scored.
    calibrators = scorer.calibrators(calibration)
    items = list(items_of(preferences.pairs).values())
    failed: list[ScoredRow] = []
    rows = watch(_saved_rows(scorer, items, save_scores), len(items))
    found: dict[Key, MediaScore] = scores_of(rows, failed)
    left_out = Counter(preferences.left_out)
    record = scorer.settings
    return Judged(
        preferences=preferences,
        pairs=join(preferences.pairs, found, left_out),
        model=record.model,
        fingerprint=record.fingerprint,
        settings=record.digest,
        calibrators=calibrators,
        failed=failed,
        left_out=dict(left_out),
    )


def _saved_rows(scorer: Scorer, items: list[Item], file: Path | None) -> Iterator[ScoredRow]:
    """Yield the scored rows of the items, after each is written to `file`."""
    if file is None:
        yield from scorer.score_items(items)
        return
    kinds = full_columns(scorer.settings.axes)
    # No decision on the pairs needs perceptual hashes.
    del kinds[PHASH]
    with open_sink(file, scorer.settings, kinds) as sink:
        for row in scorer.score_items(items):
            sink.write(to_full_record(row, scorer.settings))
            yield row
