"""Reader of our own layout of pairs: prompt, media_a, media_b, and preferences by axis."""

from collections.abc import Iterator, Sequence
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.context import (
    NO_PREFERENCE,
    Context,
    as_number,
    is_missing,
    is_plain,
    number_in,
    text_of,
    value_text,
)
from librehps.preferences.pairs import Pair
from librehps.rowfiles import Row

MEDIA = ("prompt", "media_a", "media_b")
SIDES = {"a": 1.0, "b": 0.0, "tie": 0.5}
VOTES = ("votes_a", "votes_b")
RATINGS = ("rating_a", "rating_b")
# One of several judgements of a pair.
RATER = "rater"
# Columns of `librehps judge` that are true for rows without a preference, and the reasons.
UNJUDGED = {"skipped": "skipped by the rater", "repeat": "judged again by the same rater"}


def own_pair(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of a row in our own layout; only prompt and media are required."""
    benchmark = str(row.get("benchmark") or "pairs")
    count = context.counts[benchmark]
    context.counts[benchmark] += 1
    preference = {
        axis: p for axis in context.axes if (p := _preference(place, axis, row)) is not None
    }
    ratings = [number_in(place, row, name) for name in RATINGS]
    if context.judged and not preference and None in ratings:
        reasons = (why for name, why in UNJUDGED.items() if row.get(name) is True)
        context.left_out[next(reasons, NO_PREFERENCE)] += 1
        return
    try:
        media = [context.media(row[name]) for name in ("media_a", "media_b")]
    except PreferenceError as error:
        raise PreferenceError(f"{place}: {error}", error.hint) from None
    index, known = number_in(place, row, "index"), own_columns(context.axes)
    name, prompt, rater = str(_given(row, "pair_id", f"{benchmark}/{count}")), row["prompt"], None
    if not is_missing(row.get(RATER)):
        # The judgements of one pair must be in one part of a split.
        rater = row[RATER]
        count = context.number_of(benchmark, text_of(prompt), media)
    yield Pair(
        pair_id=name if rater is None else context.id_of(name, rater),
        prompt=text_of(prompt),
        media_a=media[0],
        media_b=media[1],
        preference=preference,
        benchmark=benchmark,
        index=count if index is None else int(index),
        rating_a=ratings[0],
        rating_b=ratings[1],
        extra={k: v for k, v in row.items() if k not in known and is_plain(v)},
    )


def preference_columns(axes: Sequence[str]) -> frozenset[str]:
    """Return the columns of our own layout that hold a preference."""
    votes = {f"{axis}_{side}" for axis in axes for side in VOTES}
    return frozenset({*axes, *votes, *VOTES, *RATINGS})


def own_columns(axes: Sequence[str]) -> frozenset[str]:
    """Return the columns with a meaning in our own layout."""
    return preference_columns(axes) | {*MEDIA, "pair_id", "benchmark", "index"}


def _preference(place: str, axis: str, row: Row) -> float | None:
    """Return the preference in the axis' column or in its votes; None if both are empty."""
    votes = _votes(place, axis, row)
    value = row.get(axis)
    if is_missing(value):
        return votes
    if votes is not None:
        raise PreferenceError(f"{place}: both a preference and votes on {axis}")
    if value_text(value) in SIDES:
        return SIDES[value_text(value)]
    number = as_number(value)
    if number is None or not 0 <= number <= 1:
        raise PreferenceError(
            f"{place}: {axis}: expected a number in [0, 1], a, b or tie, got {value!r}",
            hint="1 means that a is better. Put absolute ratings into rating_a and rating_b. "
            f"If the column has another meaning: --rename {axis}=my_{axis}",
        )
    return number


def _votes(place: str, axis: str, row: Row) -> float | None:
    prefix = "" if axis == "overall" else f"{axis}_"
    counts = [number_in(place, row, prefix + name) for name in VOTES]
    if counts[0] is None or counts[1] is None:
        return None
    if min(counts[0], counts[1]) < 0 or counts[0] + counts[1] <= 0:
        raise PreferenceError(f"{place}: invalid votes on {axis}: {counts}")
    return counts[0] / (counts[0] + counts[1])


def _given(row: Row, name: str, otherwise: str) -> Any:
    return otherwise if is_missing(row.get(name)) else row[name]
