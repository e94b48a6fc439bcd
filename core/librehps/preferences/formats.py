"""Layouts of preference files: our own, public benchmarks, and annotation tools.

Benchmarks, with the publishers' columns: HPDv3, HPDv2, ImageReward, VisionReward (`vrr` in the
published card), Pick-a-Pic and VideoGen-RewardBench.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any

from librehps.errors import PreferenceError
from librehps.preferences.argilla import argilla_rows, is_record
from librehps.preferences.column_names import PairColumns
from librehps.preferences.context import Context, as_number, is_missing, number_in
from librehps.preferences.label_studio import is_task, label_studio_rows
from librehps.preferences.other_columns import own_rows
from librehps.preferences.own import MEDIA, own_pair
from librehps.preferences.pairs import Pair
from librehps.rowfiles import Placed, Row

Reader = Callable[[str, Row, Context], Iterator[Pair]]
Adapter = Callable[[Sequence[Placed], PairColumns, Context], Iterator[Placed]]


@dataclass(frozen=True)
class Format:
    """The columns that identify a layout, and the function that reads pairs from a row.

    `fits` looks at the values of a first row. `adapt` turns the rows of a file into rows that
    `read` takes. `places` is True if the order of the media says which is preferred.
    """

    columns: frozenset[str]
    read: Reader
    fits: Callable[[Row], bool] = lambda row: True
    adapt: Adapter | None = None
    places: bool = False

    def matches(self, row: Row) -> bool:
        """Return True if a first row is in this layout."""
        return self.columns <= row.keys() and self.fits(row)


def _hpdv3(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of an HPDv3 row: path1 is preferred; choice_dist holds the votes."""
    preference, votes = 1.0, row.get("choice_dist")
    if votes:
        counts = votes if isinstance(votes, list) else []
        if len(counts) != 2 or not all(map(_is_count, counts)) or sum(counts) <= 0:
            raise PreferenceError(f"{place}: choice_dist: expected two vote counts, got {votes}")
        preference = votes[0] / sum(votes)
        if preference < 0.5:
            raise PreferenceError(f"{place}: choice_dist: expected path1 to win, got votes {votes}")
    media = (row["path1"], row["path2"])
    yield context.pair(row, media, {"overall": preference}, "hpdv3", KNOWN_COLUMNS)


def _hpdv2(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pairs of an HPDv2 row: a lower rank is better."""
    yield from _ranked(place, row, context, ("image_path", "rank"), "hpdv2")


def _hpdv2_train(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of an HPDv2 training row: human_preference is 1 for the preferred image."""
    chosen, media = row["human_preference"], row["file_path"]
    are_lists = isinstance(chosen, list) and isinstance(media, list)
    if not are_lists or len(chosen) != 2 or any(v not in (0, 1) for v in chosen) or len(media) != 2:
        raise PreferenceError(f"{place}: expected two images and two values of 0 or 1")
    preference = {"overall": (1 + chosen[0] - chosen[1]) / 2}
    yield context.pair(row, tuple(media), preference, "hpdv2", KNOWN_COLUMNS)


def _imagereward(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pairs of an ImageReward row: a lower ranking is better."""
    yield from _ranked(place, row, context, ("generations", "ranking"), "imgrew")


# Columns of ImageRewardDB with the ratings of one image.
_RATED = ("rank", "overall_rating", "image_text_alignment_rating")
_IMAGES = ("image", "image_path")


def _imagerewarddb_groups(
    rows: Sequence[Placed], columns: PairColumns, context: Context
) -> Iterator[Placed]:
    """Yield a row for each prompt of ImageRewardDB, whose files have a row for each image."""
    for place, row in rows:
        if not {"prompt_id", "prompt", "rank"} <= row.keys():
            raise PreferenceError(f"{place} lacks prompt_id, prompt or rank")
    ordered = sorted(rows, key=lambda placed: str(placed[1]["prompt_id"]))
    for _, same in groupby(ordered, key=lambda placed: str(placed[1]["prompt_id"])):
        group = list(same)
        place, first = group[0]
        images = [row.get(_IMAGES[0]) or row.get(_IMAGES[1]) for _, row in group]
        ratings = {name: [number_in(p, row, name) for p, row in group] for name in _RATED}
        yield place, {"prompt": first["prompt"], "images": images, **ratings}


def _imagerewarddb(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pairs of a prompt of ImageRewardDB: a lower rank is better, a higher rating too."""
    overall, alignment = row["overall_rating"], row["image_text_alignment_rating"]
    for i, j in combinations(range(len(row["images"])), 2):
        preference = {}
        if None not in (row["rank"][i], row["rank"][j]):
            preference["overall"] = _share(row["rank"][j], row["rank"][i])
        if None not in (alignment[i], alignment[j]):
            preference["alignment"] = _share(alignment[i], alignment[j])
        media = (row["images"][i], row["images"][j])
        known, ratings = frozenset(row), (overall[i], overall[j])
        yield context.pair(row, media, preference, "imgrew", known, ratings)


def _visionreward(place: str, row: Row, context: Context) -> Iterator[Pair]:
    media = (row["win_image_path"], row["lose_image_path"])
    yield context.pair(row, media, {"overall": 1.0}, "vrr", KNOWN_COLUMNS)


def _pickapic(place: str, row: Row, context: Context) -> Iterator[Pair]:
    """Yield the pair of a Pick-a-Pic row: label_0 is the share of the first image."""
    labels = [number_in(place, row, name) for name in ("label_0", "label_1")]
    if None in labels or abs(sum(labels) - 1) > 1e-6:  # type: ignore[arg-type]
        raise PreferenceError(f"{place}: expected label_0 and label_1 with sum 1, got {labels}")
    caption = {**row, "prompt": row["caption"]}
    media, preference = (row["jpg_0"], row["jpg_1"]), {"overall": labels[0] or 0.0}
    yield context.pair(caption, media, preference, "pickscore", KNOWN_COLUMNS)


# From column of VideoGen-RewardBench to axis; visual quality (VQ) matches no single axis.
VIDEOGEN_AXES = {"Overall": "overall", "TA": "alignment", "MQ": "temporal"}
_VIDEOGEN_SIDES = {"A": 1.0, "B": 0.0, "same": 0.5}


def _videogen(place: str, row: Row, context: Context) -> Iterator[Pair]:
    preference = {}
    for column, axis in VIDEOGEN_AXES.items():
        value = row.get(column)
        if is_missing(value):
            continue
        if str(value) not in _VIDEOGEN_SIDES:
            raise PreferenceError(f"{place}: {column}: expected A, B or same, got {value!r}")
        preference[axis] = _VIDEOGEN_SIDES[str(value)]
    media = (row["path_A"], row["path_B"])
    yield context.pair(row, media, preference, "videogen", KNOWN_COLUMNS)


def _ranked(
    place: str, row: Row, context: Context, columns: tuple[str, str], benchmark: str
) -> Iterator[Pair]:
    """Yield every pair of a ranked list; the earlier item is a."""
    media, ranks = (row[column] for column in columns)
    if not isinstance(media, list) or not isinstance(ranks, list) or len(media) != len(ranks):
        raise PreferenceError(
            f"{place}: expected {columns[0]} and {columns[1]} to be lists of equal length"
        )
    numbers = [as_number(rank) for rank in ranks]
    if None in numbers:
        raise PreferenceError(f"{place}: {columns[1]}: expected numbers, got {ranks}")
    for (a, rank_a), (b, rank_b) in combinations(zip(media, numbers, strict=True), 2):
        preference = {"overall": _share(rank_b, rank_a)}
        yield context.pair(row, (a, b), preference, benchmark, KNOWN_COLUMNS)


def _share(ours: Any, theirs: Any) -> float:
    """Return 1 if the first value is larger, 0 if smaller, 0.5 if equal."""
    return 0.5 if ours == theirs else float(ours > theirs)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0


def _has_lists(*names: str) -> Callable[[Row], bool]:
    return lambda row: all(isinstance(row[name], list) for name in names)


def _columns(*names: str) -> frozenset[str]:
    return frozenset(names)


def _is_one_image(row: Row) -> bool:
    has_media = any(row.get(name) for name in _IMAGES)
    return has_media and not any(isinstance(row[name], list) for name in ("rank",))


FORMATS: dict[str, Format] = {
    "pairs": Format(_columns(*MEDIA), own_pair, adapt=own_rows),
    "hpdv3": Format(_columns("prompt", "path1", "path2"), _hpdv3, places=True),
    "hpdv2": Format(
        _columns("prompt", "image_path", "rank"), _hpdv2, _has_lists("image_path", "rank")
    ),
    "hpdv2-train": Format(
        _columns("prompt", "file_path", "human_preference"),
        _hpdv2_train,
        _has_lists("file_path", "human_preference"),
    ),
    "imagereward": Format(
        _columns("prompt", "generations", "ranking"),
        _imagereward,
        _has_lists("generations", "ranking"),
    ),
    "imagerewarddb": Format(
        _columns("prompt_id", "prompt", "rank", "overall_rating", "image_text_alignment_rating"),
        _imagerewarddb,
        _is_one_image,
        _imagerewarddb_groups,
    ),
    "visionreward": Format(
        _columns("prompt", "win_image_path", "lose_image_path"), _visionreward, places=True
    ),
    "pickapic": Format(_columns("caption", "jpg_0", "jpg_1", "label_0", "label_1"), _pickapic),
    "videogen": Format(_columns("prompt", "path_A", "path_B", "Overall"), _videogen),
    "labelstudio": Format(frozenset(), own_pair, is_task, label_studio_rows),
    "argilla": Format(frozenset(), own_pair, is_record, argilla_rows),
}
KNOWN_COLUMNS = frozenset().union(*(f.columns for f in FORMATS.values())) - {
    *("Overall", "prompt_id", "overall_rating", "image_text_alignment_rating")
}
