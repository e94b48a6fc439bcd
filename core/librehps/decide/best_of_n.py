"""Best of n: pick the best rows of each prompt, folder, column value or pattern match."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from librehps.decide.calibrators import Calibrator, fit_for
from librehps.decide.groups import Groups, group_by, group_by_pattern
from librehps.decide.picks import BestOfN
from librehps.decide.rank import pick_best, rank
from librehps.decide.weights import OVERALL, Weights, parse_weights
from librehps.errors import NothingScoredError, UsageError
from librehps.scores.file_table import FileTable
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.select import check_axes, check_text, group_codes, scored_rows

log = logging.getLogger("librehps")


def best_of_n(
    scores: Scores,
    *,
    per: str | None = None,
    per_match: str | None = None,
    axis: str | None = None,
    weights: Mapping[str, float] | str | None = None,
    top: int = 1,
    abstain_below: float | None = None,
    calibrator: Calibrator = None,
) -> BestOfN:
    """Pick the best rows of each group by mu; rows with errors are ignored.

    Groups are the values of `per` (prompt, folder or a column; default: the column group, else the
    prompt), or the text that the regular expression `per_match` matches in the id. Rows rank by
    `overall`, another `axis`, or a weighted sum of mus: `weights={"overall": 1, "style": 0.5}`.
    `top` rows of each group are picked. The `calibrator` (`find_calibrator(scores)`, or a
    calibration.json) gives win probabilities, for overall only. With `abstain_below` P, a group
    has no pick if its last picked row beats the next row with a probability below P. Raises
    UsageError, and NothingScoredError if no row has a score.
    """
    chosen = check_choice(per=per, per_match=per_match, axis=axis, weights=weights)
    if top < 1 or (abstain_below is not None and not 0.5 <= abstain_below <= 1):
        raise UsageError("expected top >= 1 and abstain_below in [0.5, 1]")
    given = as_score_table(scores)
    check_axes(given.source, chosen.weights)
    needed = ["id", "media", "prompt", *(f"{name}_mu" for name in chosen.weights)]
    rows = scored_rows(given.source, given.origin, needed)
    for name in ("id", "media", "prompt"):
        check_text(rows, name)
    groups = _groups(rows, per, per_match)
    ranked = rank(_scores(rows, chosen), groups.codes)
    _warn_of_mixtures(rows, groups)
    if isinstance(rows, FileTable):
        # Not needed by the picks, and large.
        rows.codes.clear()
    fit = fit_for(calibrator, given.settings) if chosen.axis == "overall" else None
    _check_abstention(abstain_below, chosen, fit is not None)
    picks = pick_best(ranked, fit, top, abstain_below)
    return BestOfN(given.of(rows), groups, ranked, picks, chosen, is_calibrated=fit is not None)


def check_choice(
    *,
    per: str | None = None,
    per_match: str | None = None,
    axis: str | None = None,
    weights: Mapping[str, float] | str | None = None,
) -> Weights:
    """Return the weights for `axis` or `weights`; raises UsageError for options that conflict."""
    if per and per_match:
        raise UsageError("--per and --per-match cannot be used together")
    if axis and weights:
        raise UsageError("--axis and --weights cannot be used together")
    if axis is not None:
        return Weights({axis: 1.0})
    if weights is None:
        return OVERALL
    return parse_weights(weights) if isinstance(weights, str) else Weights(dict(weights))


def _groups(rows: Any, per: str | None, per_match: str | None) -> Groups:
    if per_match is not None:
        return group_by_pattern(rows, per_match)
    default = "group" if "group" in rows.column_names else "prompt"
    return group_by(rows, per or default)


def _scores(rows: Any, weights: Weights) -> Any:
    scores = weights.scores(rows)
    missing, names = int(np.isnan(scores).sum()), ", ".join(weights.weights)
    if missing == len(rows):
        raise NothingScoredError(f"no row has a score on {names}")
    if missing:
        log.warning("%d rows without a score on %s are ignored", missing, names)
    return scores


def _warn_of_mixtures(rows: Any, groups: Groups) -> None:
    """Log a warning for groups with several prompts or kinds, whose scores compare poorly."""
    for column, what in (("prompt", "several prompts"), ("kind", "both images and videos")):
        if column not in rows.column_names:
            continue
        values = group_codes(rows, column)
        first = np.empty(int(groups.codes.max(initial=0)) + 1, dtype=np.int64)
        # The last of several writes stays, so the first row is written last.
        first[groups.codes[::-1]] = values[::-1]
        mixed = len(np.unique(groups.codes[values != first[groups.codes]]))
        if mixed:
            held = len(np.unique(groups.codes))
            log.warning(
                "%d of %d groups contain %s: their scores compare poorly", mixed, held, what
            )


def _check_abstention(abstain_below: float | None, weights: Weights, is_calibrated: bool) -> None:
    if abstain_below is None:
        return
    if weights.axis != "overall":
        raise UsageError("--abstain-below needs win probabilities, which only overall has")
    if not is_calibrated:
        raise UsageError(
            "abstain_below needs a calibrator of win probabilities",
            hint="Pass calibrator=librehps.find_calibrator(scores).",
        )
