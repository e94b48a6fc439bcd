"""The rows that a report of many rows shows: extremes, widest groups, errors and a sample."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.report.survey import Codes, Floats, Survey, floats_of
from librehps.scores.select import group_codes

EMPTY: dict[str, Any] = {"codes": []}
# Bytes of a row's codes, and of its two figures of an axis.
ROW_BYTES, AXIS_BYTES = 40, 16
Indices = NDArray[np.int64]
NO_ROWS: Indices = np.empty(0, np.int64)
# Rows at each end of each axis, and of each kind of error.
MAX_END_ROWS, MAX_ERROR_ROWS = 100, 20
# Groups of each axis with the largest gap, the best and the worst rows; a small group is whole.
MAX_GROUPS, MAX_WHOLE_ROWS = 30, 20


@dataclass(frozen=True)
class Sample:
    """The rows to show, most important first, and the contests among them.

    `contests` has for each axis (best row, worst row, scored rows) of groups, (groups, 3);
    `totals` the number of all groups with two or more scored rows, by axis.
    """

    rows: Indices
    contests: dict[str, Indices]
    totals: dict[str, int]


def sample_of(table: Any, survey: Survey, limit: int, wanted: Indices = NO_ROWS) -> Sample:
    """Return a sample of `limit` rows of a table, with the `wanted` rows near the front.

    The sample of the same table is always the same.
    """
    ends: list[Indices] = []
    groups: list[Indices] = []
    totals = {}
    for axis in survey.axes:
        mu = floats_of(table, f"{axis}_mu")
        ends.append(_ends(mu))
        found, totals[axis] = _widest(mu, survey.groups)
        groups.append(found)
    chosen = np.unique(np.concatenate(groups))
    contests, members = _contests(table, survey, chosen)
    order = np.concatenate([
        *(end[:24] for end in ends),
        wanted,
        *(pair[:, :2].ravel() for pair in contests.values()),
        *_errors(table, survey),
        members,
        *ends,
    ])  # fmt: skip
    first = _distinct(order)[:limit]
    is_free = np.ones(len(survey), dtype=bool)
    is_free[first] = False
    return Sample(
        np.concatenate([first, spread(np.flatnonzero(is_free), limit - len(first))]),
        contests,
        totals,
    )


def within(record: Mapping[str, Any], order: Indices, max_bytes: int) -> Indices:
    """Return the first rows of `order` whose texts on the page take at most `max_bytes`.

    `record` has the columns of the page; a distinct value of a coded column is counted once.
    """
    plain = [record["id"], record["media"], *record["own"].values()]
    coded = [record[name] for name in ("prompt", "kind", "error_type")]
    coded += [record["by"] or EMPTY, _labels(record["group"])]
    numbers = ROW_BYTES + AXIS_BYTES * len(record["axes"])
    seen: set[tuple[int, int]] = set()
    for at, row in enumerate(order.tolist()):
        max_bytes -= numbers + _size(record["error"].get(row))
        max_bytes -= sum(_size(values[row]) for values in plain)
        for number, column in enumerate(coded):
            code = column["codes"][row] if column["codes"] else -1
            if code >= 0 and (number, code) not in seen:
                seen.add((number, code))
                max_bytes -= _size(column["values"][code])
        if max_bytes < 0:
            return order[:at]
    return order


def _labels(group: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the labels of groups as a coded column; prompts have theirs in their own column."""
    is_named = group is not None and group["codes"] is not None
    return {"codes": group["codes"], "values": group["labels"]} if group and is_named else EMPTY


def _size(text: str | None) -> int:
    """Return the bytes of a text in the page's JSON, where <, >, & and ' take six."""
    if text is None:
        return 4
    return len(json.dumps(text)) + 1 + 5 * sum(map(text.count, "<>&'"))


def spread(rows: Indices, count: int) -> Indices:
    """Return `count` of the rows, evenly spaced."""
    if count >= len(rows):
        return rows
    return rows[np.arange(count) * len(rows) // max(1, count)]


def _ends(mu: Floats) -> Indices:
    """Return the best and worst rows in turn, best and worst first."""
    ranked = np.flatnonzero(~np.isnan(mu))
    best, worst = (ranked[top(sign * mu[ranked], MAX_END_ROWS)] for sign in (1, -1))
    return np.stack([best, worst], axis=1).ravel()


def top(values: Floats, count: int) -> Indices:
    """Return the indices of the largest values, largest first; of equal values the first."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = -np.partition(-values, count - 1)[count - 1] if count else np.inf
    above = np.flatnonzero(values > least)
    equal = np.flatnonzero(values == least)[: count - len(above)]
    found = np.sort(np.concatenate([above, equal]))
    return found[np.argsort(-values[found], kind="stable")]


def _widest(mu: Floats, codes: Codes) -> tuple[Indices, int]:
    """Return groups with the largest gap, the best and the worst rows, and the number of groups."""
    known = ~np.isnan(mu)
    size = int(codes.max(initial=-1)) + 1
    sizes = np.bincount(codes[known], minlength=size)
    best, worst = np.full(size, -np.inf, np.float32), np.full(size, np.inf, np.float32)
    np.maximum.at(best, codes[known], mu[known])
    np.minimum.at(worst, codes[known], mu[known])
    contests = np.flatnonzero(sizes > 1)
    best, worst = best[contests], worst[contests]
    found = [contests[top(by, MAX_GROUPS)] for by in (best - worst, best, -worst)]
    return np.concatenate(found), len(contests)


def _contests(table: Any, survey: Survey, groups: Indices) -> tuple[dict[str, Indices], Indices]:
    """Return the contests of the groups on each axis, and all rows of the small groups."""
    is_chosen = np.zeros(int(survey.groups.max(initial=-1)) + 1, dtype=bool)
    is_chosen[groups] = True
    rows = np.flatnonzero(is_chosen[survey.groups])
    codes = survey.groups[rows]
    contests = {axis: _pairs(rows, codes, floats_of(table, f"{axis}_mu")[rows])
                for axis in survey.axes}  # fmt: skip
    sizes = np.bincount(codes, minlength=len(is_chosen))
    return contests, rows[sizes[codes] <= MAX_WHOLE_ROWS]


def _pairs(rows: Indices, codes: Codes, mu: Floats) -> Indices:
    """Return (best row, worst row, scored rows) of each group with two or more scored rows."""
    ranked = np.flatnonzero(~np.isnan(mu))
    ranked = ranked[np.argsort(-mu[ranked], kind="stable")]
    _, best, sizes = np.unique(codes[ranked], return_index=True, return_counts=True)
    _, worst = np.unique(codes[ranked[::-1]], return_index=True)
    pairs = np.stack([rows[ranked[best]], rows[ranked[::-1][worst]], sizes], axis=1)
    return pairs[sizes > 1]


def _errors(table: Any, survey: Survey) -> Iterator[Indices]:
    """Yield the first rows of each type of error."""
    failed = np.flatnonzero(~survey.is_ok)
    if "error_type" not in table.column_names or not len(failed):
        yield failed[:MAX_ERROR_ROWS]
        return
    codes = group_codes(table, "error_type")[failed]
    for code in np.unique(codes):
        yield failed[codes == code][:MAX_ERROR_ROWS]


def _distinct(rows: Indices) -> Indices:
    """Return the rows in order of first appearance."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]
