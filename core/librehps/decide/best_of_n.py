"""Best of n: pick the best rows of each prompt, folder, column value or pattern match."""

import logging
from collections.abc import Mapping
from typing import Any

from librehps.choices import Normalise
from librehps.decide.across_prompts import mixture, note_mixed_prompts
from librehps.decide.calibrators import Calibrator, fit_for
from librehps.decide.combined import count_missing
from librehps.decide.distinct import bits_of, with_looks
from librehps.decide.groups import Groups, compiled_pattern, group_by, group_by_pattern
from librehps.decide.picks import BestOfN
from librehps.decide.rank import pick_best, rank
from librehps.decide.unpicked import warn_of_unpicked
from librehps.decide.weights import Weights, choose_weights
from librehps.errors import UsageError
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
    normalise: Normalise | None = None,
    top: int = 1,
    distinct: bool | int = False,
    abstain_below: float | None = None,
    calibrator: Calibrator = None,
) -> BestOfN:
    """Pick the best rows of each group by mu; rows with errors are ignored.

    Groups are the values of `per` (prompt, folder or a column; default: the column group, else the
    prompt), or the text that the regular expression `per_match` matches in the id. Rows rank by
    `overall`, another `axis`, or a weighted sum: `weights={"overall": 1, "aesthetic": 0.5}` of mus
    and of other columns of numbers. `normalise` makes z-scores of each column, within a "prompt" or
    over "all" rows; the default is "none" for mus of the table's own model, else "prompt".
    `top` rows of each group are picked. With `distinct`, a row that looks like a better one of its
    group does not count; see `filter_rows`. The `calibrator` (`find_calibrator(scores)`, or a
    calibration.json) gives win probabilities, for overall only. With `abstain_below` P, a group
    has no pick if its last picked row beats the next row with a probability below P. Raises
    UsageError, and NothingScoredError if no row has a score.
    """
    chosen = check_choice(
        per=per, per_match=per_match, axis=axis, weights=weights, normalise=normalise
    )
    if top < 1 or (abstain_below is not None and not 0.5 <= abstain_below <= 1):
        raise UsageError("expected top >= 1 and abstain_below in [0.5, 1]")
    given = as_score_table(scores)
    needed = ["id", "media", "prompt"]
    if weights is None:
        check_axes(given.source, chosen.weights)
        needed += chosen.columns(given.source)
    rows = scored_rows(given.source, given.origin, needed)
    chosen = chosen.of(rows, given.own_axes)
    for name in ("id", "media", "prompt"):
        check_text(rows, name)
    groups = _groups(rows, per, per_match)
    scores_of_rows = chosen.scores(rows)
    count_missing(scores_of_rows, len(rows), ", ".join(chosen.weights))
    ranked = rank(scores_of_rows, groups.codes)
    warn_of_unpicked(given.source, rows, groups, scores_of_rows, len(ranked.sizes))
    del scores_of_rows
    if (bits := bits_of(distinct)) is not None:
        ranked = with_looks(ranked, rows, groups.codes, bits)
    _warn_of_mixtures(rows, groups, chosen)
    if isinstance(rows, FileTable):
        # Not needed by the picks, and large.
        rows.codes.clear()
    fit = fit_for(calibrator, given.settings) if chosen.axis == "overall" else None
    _check_abstention(abstain_below, chosen, fit is not None)
    picks = pick_best(ranked, fit, top, abstain_below)
    of_rows = given.of(rows)
    if weights is not None:
        of_rows = chosen.recorded_in(of_rows)
    return BestOfN(of_rows, groups, ranked, picks, chosen, is_calibrated=fit is not None)


def check_choice(
    *,
    per: str | None = None,
    per_match: str | None = None,
    axis: str | None = None,
    weights: Mapping[str, float] | str | None = None,
    normalise: Normalise | None = None,
) -> Weights:
    """Return the weights for `axis` or `weights`; raises UsageError for options that conflict."""
    if per and per_match:
        raise UsageError("--per and --per-match cannot be used together")
    if per_match is not None:
        compiled_pattern(per_match)
    return choose_weights(axis, weights, normalise)


def _groups(rows: Any, per: str | None, per_match: str | None) -> Groups:
    if per_match is not None:
        return group_by_pattern(rows, per_match)
    default = "group" if "group" in rows.column_names else "prompt"
    return group_by(rows, per or default)


def _warn_of_mixtures(rows: Any, groups: Groups, weights: Weights) -> None:
    """Log a warning for groups with several prompts or kinds, whose scores compare poorly."""
    if "prompt" in rows.column_names and weights.normalise != "prompt":
        note_mixed_prompts(group_codes(rows, "prompt"), groups.codes)
    if "kind" in rows.column_names:
        mixed = mixture(group_codes(rows, "kind"), groups.codes)
        if mixed.groups:
            log.warning(
                "%d of %d groups contain both images and videos: their scores compare poorly",
                mixed.groups,
                mixed.of,
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
