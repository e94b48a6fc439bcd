"""Readers of preference rows: our own layout, and the files of public benchmarks.

Supported, with the publishers' columns: HPDv3, HPDv2, ImageReward, VisionReward (`vrr` in the
published card), Pick-a-Pic and VideoGen-RewardBench.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from librehps.errors import PreferenceError
from librehps.media.archived import Remote
from librehps.paths import foreign_path, local_name
from librehps.preferences.pairs import Pair, PairMedia
from librehps.rowfiles import Row
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import AXES

SIDES = {"a": 1.0, "b": 0.0, "tie": 0.5}
VOTES = ("votes_a", "votes_b")
RATINGS = ("rating_a", "rating_b")


@dataclass
class Context:
    """The state of reading a file: `left_out` rows by reason, and `counts` of pairs by benchmark.

    `root` is the base of media paths; media at URLs must lie in one of the buckets or on one of the
    hosts `homes`. `judged` skips pairs without a preference. `axes` are the
    axes that may have preferences.
    """

    root: AnyPath
    left_out: Counter[str]
    counts: Counter[str] = field(default_factory=Counter)
    judged: bool = True
    axes: Sequence[str] = AXES
    homes: frozenset[str] = frozenset()

    def pair(
        self, row: Row, media: tuple[Any, Any], preference: dict[str, float], benchmark: str
    ) -> Pair:
        """Return a pair of a benchmark, numbered in the order of the file."""
        index = self.counts[benchmark]
        self.counts[benchmark] += 1
        known = {"prompt", *_MEDIA_FIELDS}
        return Pair(
            pair_id=f"{benchmark}/{index}",
            prompt=_prompt(row),
            media_a=self.media(media[0]),
            media_b=self.media(media[1]),
            preference=preference,
            benchmark=benchmark,
            index=index,
            extra={k: v for k, v in row.items() if k not in known and _is_plain(v)},
        )

    def media(self, value: Any) -> PairMedia:
        """Return encoded bytes, or a path or URL below `root`; accepts `{bytes, path}` too."""
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value:
            raise PreferenceError(f"expected a media path, got {value!r}")
        if is_remote(value) or isinstance(self.root, UrlPath):
            return self._remote(value)
        if reason := foreign_path(self.root, value):
            raise PreferenceError(reason)
        return self.root / local_name(self.root, value)

    def _remote(self, value: str) -> Remote:
        url = UrlPath(value) if is_remote(value) or not isinstance(self.root, UrlPath) else (
            self.root.below(value))  # fmt: skip
        if url is None or url.origin not in self.homes:
            raise PreferenceError(
                f"{shown(value)}: expected media in the bucket or on the host of the file of pairs",
                hint="Name the bucket or host of the media: --root URL",
            )
        return Remote(url.url)


Reader = Callable[[str, Row, Context], Iterator[Pair]]


@dataclass(frozen=True)
class Format:
    """The columns that identify a layout, and the function that reads pairs from a row."""

    columns: frozenset[str]
    read: Reader


def _own(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of a row in our own layout; only prompt and media are required."""
    benchmark = str(row.get("benchmark") or "pairs")
    count = context.counts[benchmark]
    context.counts[benchmark] += 1
    preference = {
        axis: p for axis in context.axes if (p := _preference(place, axis, row)) is not None
    }
    ratings = [_number(place, row, name) for name in RATINGS]
    if context.judged and not preference and None in ratings:
        context.left_out["no preference on any axis"] += 1
        return
    try:
        media = [context.media(row[name]) for name in ("media_a", "media_b")]
    except PreferenceError as error:
        raise PreferenceError(f"{place}: {error}") from None
    index, known = _number(place, row, "index"), _own_fields(context.axes)
    yield Pair(
        pair_id=str(_given(row, "pair_id", f"{benchmark}/{count}")),
        prompt=_prompt(row),
        media_a=media[0],
        media_b=media[1],
        preference=preference,
        benchmark=benchmark,
        index=count if index is None else int(index),
        rating_a=ratings[0],
        rating_b=ratings[1],
        extra={k: v for k, v in row.items() if k not in known and _is_plain(v)},
    )


def _hpdv3(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of an HPDv3 row: path1 is preferred; choice_dist holds the votes."""
    preference, votes = 1.0, row.get("choice_dist")
    if votes:
        if len(votes) != 2 or min(votes) < 0 or sum(votes) <= 0:
            raise PreferenceError(f"{place}: choice_dist: expected two vote counts, got {votes}")
        preference = votes[0] / sum(votes)
        if preference < 0.5:
            raise PreferenceError(f"{place}: choice_dist: expected path1 to win, got votes {votes}")
    yield context.pair(row, (row["path1"], row["path2"]), {"overall": preference}, "hpdv3")


def _hpdv2(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pairs of an HPDv2 row: a lower rank is better."""
    yield from _ranked(place, row, context, ("image_path", "rank"), "hpdv2")


def _hpdv2_train(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of an HPDv2 training row: human_preference is 1 for the preferred image."""
    chosen = row["human_preference"]
    if len(chosen) != 2 or set(chosen) > {0, 1} or len(row["file_path"]) != 2:
        raise PreferenceError(f"{place}: expected two images and two values of 0 or 1")
    preference = (1 + chosen[0] - chosen[1]) / 2
    yield context.pair(row, tuple(row["file_path"]), {"overall": preference}, "hpdv2")


def _imagereward(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pairs of an ImageReward row: a lower ranking is better."""
    yield from _ranked(place, row, context, ("generations", "ranking"), "imgrew")


def _visionreward(place: str, row: Row, context: Context) -> Iterator[Pair]:
    media = (row["win_image_path"], row["lose_image_path"])
    yield context.pair(row, media, {"overall": 1.0}, "vrr")


def _pickapic(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of a Pick-a-Pic row: label_0 is the share of the first image."""
    labels = [_number(place, row, name) for name in ("label_0", "label_1")]
    if None in labels or abs(sum(labels) - 1) > 1e-6:  # type: ignore[arg-type]
        raise PreferenceError(f"{place}: expected label_0 and label_1 with sum 1, got {labels}")
    caption = {**row, "prompt": row["caption"]}
    media = (row["jpg_0"], row["jpg_1"])
    yield context.pair(caption, media, {"overall": labels[0] or 0.0}, "pickscore")


# From column of VideoGen-RewardBench to axis; visual quality (VQ) matches no single axis.
VIDEOGEN_AXES = {"Overall": "overall", "TA": "alignment", "MQ": "temporal"}
_VIDEOGEN_SIDES = {"A": 1.0, "B": 0.0, "same": 0.5}


def _videogen(place: str, row: Row, context: Context) -> Iterator[Pair]:
    preference = {}
    for column, axis in VIDEOGEN_AXES.items():
        value = row.get(column)
        if _is_missing(value):
            continue
        if value not in _VIDEOGEN_SIDES:
            raise PreferenceError(f"{place}: {column}: expected A, B or same, got {value!r}")
        preference[axis] = _VIDEOGEN_SIDES[value]
    yield context.pair(row, (row["path_A"], row["path_B"]), preference, "videogen")


def _ranked(
    place: str, row: Row, context: Context, columns: tuple[str, str], benchmark: str
) -> Iterator[Pair]:
    """Yield every pair of a ranked list; the earlier item is a."""
    media, ranks = (row[column] for column in columns)
    if not isinstance(media, list) or not isinstance(ranks, list) or len(media) != len(ranks):
        raise PreferenceError(
            f"{place}: expected {columns[0]} and {columns[1]} to be lists of equal length"
        )
    for (a, rank_a), (b, rank_b) in combinations(zip(media, ranks, strict=True), 2):
        preference = 0.5 if rank_a == rank_b else float(rank_a < rank_b)
        yield context.pair(row, (a, b), {"overall": preference}, benchmark)


FORMATS: dict[str, Format] = {
    "pairs": Format(frozenset(("prompt", "media_a", "media_b")), _own),
    "hpdv3": Format(frozenset(("prompt", "path1", "path2")), _hpdv3),
    "hpdv2": Format(frozenset(("prompt", "image_path", "rank")), _hpdv2),
    "hpdv2-train": Format(frozenset(("prompt", "file_path", "human_preference")), _hpdv2_train),
    "imagereward": Format(frozenset(("prompt", "generations", "ranking")), _imagereward),
    "visionreward": Format(
        frozenset(("prompt", "win_image_path", "lose_image_path")), _visionreward
    ),
    "pickapic": Format(frozenset(("caption", "jpg_0", "jpg_1", "label_0", "label_1")), _pickapic),
    "videogen": Format(frozenset(("prompt", "path_A", "path_B", "Overall")), _videogen),
}
_MEDIA_FIELDS = frozenset().union(*(f.columns for f in FORMATS.values())) - {"Overall"}


def _own_fields(axes: Sequence[str]) -> set[str]:
    """Return the columns with a meaning in our own layout."""
    named = ("prompt", "media_a", "media_b", "pair_id", "benchmark", "index", *RATINGS, *VOTES)
    return {*named, *axes, *(f"{axis}_{side}" for axis in axes for side in VOTES)}


def _preference(place: str, axis: str, row: Row) -> float | None:
    """Return the preference in the axis' column or in its votes; None if both are empty."""
    votes = _votes(place, axis, row)
    value = row.get(axis)
    if _is_missing(value):
        return votes
    if votes is not None:
        raise PreferenceError(f"{place}: both a preference and votes on {axis}")
    if value in SIDES:
        return SIDES[value]
    number = _as_number(value)
    if number is None or not 0 <= number <= 1:
        raise PreferenceError(
            f"{place}: {axis}: expected a number in [0, 1], a, b or tie, got {value!r}",
            hint="1 means that a is better. Put absolute ratings into rating_a and rating_b.",
        )
    return number


def _votes(place: str, axis: str, row: Row) -> float | None:
    prefix = "" if axis == "overall" else f"{axis}_"
    counts = [_number(place, row, prefix + name) for name in VOTES]
    if counts[0] is None or counts[1] is None:
        return None
    if min(counts[0], counts[1]) < 0 or counts[0] + counts[1] <= 0:
        raise PreferenceError(f"{place}: invalid votes on {axis}: {counts}")
    return counts[0] / (counts[0] + counts[1])


def _number(place: str, row: Row, name: str) -> float | None:
    value = row.get(name)
    if _is_missing(value):
        return None
    number = _as_number(value)
    if number is None:
        raise PreferenceError(f"{place}: {name}: expected a number, got {value!r}")
    return number


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _is_missing(value: Any) -> bool:
    """Return True for null, an empty cell, and the NaN that data frames write for null."""
    return value is None or value == "" or value != value


def _given(row: Row, name: str, otherwise: str) -> Any:
    return otherwise if _is_missing(row.get(name)) else row[name]


def _prompt(row: Row) -> str:
    return "" if row["prompt"] is None else str(row["prompt"])


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
