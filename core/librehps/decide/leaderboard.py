"""Rank generators over the prompts that all generators have."""

import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from librehps.choices import Normalise
from librehps.decide.bootstrap import intervals
from librehps.decide.bradley_terry import (
    Floats,
    p_values,
    resampled_strengths,
    resampled_win_shares,
    square,
    strengths,
)
from librehps.decide.generators import GeneratorTable
from librehps.decide.generators import only as only_of
from librehps.decide.needs import Target, needs
from librehps.decide.shared_prompts import Codes, Shared, share
from librehps.decide.standings import Board, Leaderboard, Need, Standing
from librehps.decide.weighted_table import WEIGHTED, with_weighted_score
from librehps.decide.weights import check_weights
from librehps.errors import UsageError
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.select import check_scored, scored_rows

RESAMPLES = 2000
SIGNIFICANT = 0.05

log = logging.getLogger(__name__)


def leaderboard(
    scores: Scores,
    by: str,
    axis: str | Sequence[str] | None = None,
    category: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    only: Sequence[str] = (),
    weights: Mapping[str, float] | str | None = None,
    normalise: Normalise | None = None,
    target_width: float | None = None,
    sequential: bool | None = None,
) -> Leaderboard:
    """Rank generators over the prompts that all generators have, with one board per axis.

    Generators are the values of the column `by` (`folder`: the first folder of the id); `only`
    limits the board to some of them. `axis` names one axis or several (default: all with scores).
    Boards for each value of the column `category` follow the boards over all prompts. A prompt
    counts once, for any number of samples. With `weights` and `normalise`, as in `best_of_n`, there
    is one board, over the weighted sum.

    `target_width` adds to each board over all prompts how many more prompts or samples narrow the
    95 % interval of each two generators' win rate to that width. These intervals hold whenever you
    stop, unless `sequential` is False; True or False adds them without a target. Memory is 8 bytes
    per resample and pair of generators. Raises UsageError, and NothingScoredError if no row has a
    score.
    """
    axes = [axis] if isinstance(axis, str) else axis
    check_weights(weights, normalise, axes, "--axis")
    given = as_score_table(scores)
    check_scored(given.source, given.origin, ("prompt",))
    table = only_of(given.source, by, only) if only else given.source
    scored_rows(table, given.origin, ("prompt",))
    chosen = None
    if weights is not None:
        given, chosen = with_weighted_score(given.of(table), weights, normalise)
        table, axes = given.source, [WEIGHTED]
    rows = GeneratorTable(table, by)
    bootstrap = _Bootstrap(resamples, seed, _target(target_width, sequential, rows))
    categories = rows.categories(category) if category else {}
    boards: dict[str, list[Board]] = {}
    unshared: list[int] = []
    for name in rows.axes(axes):
        # Scores of one axis are in memory at a time.
        shared = share(rows.scored(name), len(rows.generators))
        if not len(shared.prompts) and (axes is not None or not boards):
            raise _nothing_shared(rows, shared, name)
        if not len(shared.prompts):
            log.warning("skipped axis %s: no prompt has its score from every generator", name)
            continue
        unshared = unshared or shared.unshared.tolist()
        boards[name] = [
            _board(rows, shared, name, bootstrap),
            *_within(rows, shared, name, bootstrap, categories),
        ]
        del shared
    _warn(boards, categories)
    ordered = [board for found in boards.values() for board in found if board.category is None]
    for label in categories:
        ordered += [
            board for found in boards.values() for board in found if board.category == label
        ]
    counts = dict(zip(rows.generators, unshared, strict=True))
    is_sequential = bootstrap.target is not None and bootstrap.target.sequential
    return Leaderboard(by, tuple(ordered), counts, chosen, target_width, is_sequential)


def _target(width: float | None, sequential: bool | None, rows: GeneratorTable) -> Target | None:
    """Return the asked intervals of win rates, None if there are none."""
    if width is None and sequential is None:
        return None
    target = Target(width, sequential is not False)
    target.check(len(rows.generators))
    return target


def _warn(boards: Mapping[str, Sequence[Board]], categories: Iterable[str]) -> None:
    """Log warnings for axes with fewer shared prompts, and for categories without any."""
    most = max(found[0].prompts for found in boards.values())
    for axis, (whole, *_) in boards.items():
        if whole.prompts < most:
            log.warning("%s: scores on %d of %d shared prompts", axis, whole.prompts, most)
    there = {board.category for found in boards.values() for board in found}
    for label in categories:
        if label not in there:
            log.warning("skipped category %s: no prompt has scores from every generator", label)


def _nothing_shared(rows: GeneratorTable, shared: Shared, axis: str) -> UsageError:
    fewest = int(np.argmin(shared.unshared))
    hint = "Score every generator on the same prompts."
    if shared.count > 2:
        most = sorted(np.argsort(-shared.unshared, kind="stable")[:2])
        options = " ".join(f"--only {shlex.quote(rows.generators[i])}" for i in most)
        hint = f"Choose generators that share prompts: {options}"
    return UsageError(
        f"no prompt has a score on {axis} from every generator; {rows.generators[fewest]} has the "
        f"fewest prompts: {shared.unshared[fewest]}",
        hint=hint,
    )


@dataclass(frozen=True)
class _Bootstrap:
    resamples: int
    seed: int
    target: Target | None = None


def _within(
    rows: GeneratorTable,
    shared: Shared,
    axis: str,
    bootstrap: _Bootstrap,
    categories: Mapping[str, Codes],
) -> Iterator[Board]:
    """Yield the board of each category with shared prompts."""
    bootstrap = replace(bootstrap, target=None)
    for category, prompts in categories.items():
        part = shared.among(prompts)
        if len(part.prompts):
            yield _board(rows, part, axis, bootstrap, category, rows.errors(prompts))


def _board(
    rows: GeneratorTable,
    shared: Shared,
    axis: str,
    bootstrap: _Bootstrap,
    category: str | None = None,
    errors: Codes | None = None,
) -> Board:
    sums, again = shared.sums(bootstrap.resamples, bootstrap.seed)
    prompts, count = sums.prompts, shared.count
    fitted, refitted = strengths(sums), resampled_strengths(again, bootstrap.seed)
    # Rounded, so that equal strengths keep the order of names.
    order = np.argsort(-fitted.round(6), kind="stable")
    table = np.ix_(order, order)
    wins = (square(sums.wins, prompts - sums.wins, count, prompts / 2) / prompts)[table]
    p = p_values(refitted, prompts)[table]
    lead = resampled_win_shares(again, int(order[0]), bootstrap.seed)[:, order]
    ranks = 1 + ((fitted[order] > fitted[order][:, None]) & (p <= SIGNIFICANT)).sum(axis=1)
    columns = (
        [rows.generators[i] for i in order],
        ranks.tolist(),
        intervals((sums.means / prompts)[order], (again.means / prompts)[:, order], prompts),
        intervals(fitted[order], refitted[:, order], prompts),
        ((wins.sum(axis=1) - 0.5) / (count - 1)).tolist(),
        shared.sizes.sum(axis=0)[order].tolist(),
        (rows.errors() if errors is None else errors)[order].tolist(),
    )
    standings = tuple(Standing(*figures) for figures in zip(*columns, strict=True))
    leads = tuple(intervals(wins[0], lead, prompts))
    found: list[Need] = []
    if bootstrap.target is not None:
        found = needs(shared, sums, again, order.tolist(), bootstrap.target, bootstrap.seed)
    figures = (_tuples(wins), _tuples(p), leads, tuple(found))
    return Board(axis, category, prompts, standings, *figures)


def _tuples(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
