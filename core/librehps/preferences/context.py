"""State and helpers that the readers of preference rows share."""

import base64
import binascii
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from librehps.errors import PreferenceError
from librehps.media.archived import Remote
from librehps.paths import foreign_path, local_path
from librehps.preferences.pairs import Pair, PairMedia
from librehps.rowfiles import Placed, Row
from librehps.storage.places import is_remote, shown
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import AXES

DATA_URL = "data:"
# Reasons for which pairs are left out.
NO_PREFERENCE = "no preference on any axis"


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
    _numbers: dict[str, dict[Any, int]] = field(default_factory=dict)
    _ids: Counter[str] = field(default_factory=Counter)

    def pair(
        self,
        row: Row,
        media: tuple[Any, Any],
        preference: dict[str, float],
        benchmark: str,
        known: frozenset[str],
        ratings: tuple[float | None, float | None] = (None, None),
    ) -> Pair:
        """Return a pair of a benchmark, numbered in the order of the file.

        `known` are the columns of the layout, which are not kept in the pair's `extra`.
        """
        index = self.counts[benchmark]
        self.counts[benchmark] += 1
        return Pair(
            pair_id=f"{benchmark}/{index}",
            prompt=text_of(row["prompt"]),
            media_a=self.media(media[0]),
            media_b=self.media(media[1]),
            preference=preference,
            benchmark=benchmark,
            index=index,
            rating_a=ratings[0],
            rating_b=ratings[1],
            extra={k: v for k, v in row.items() if k not in {"prompt", *known} and is_plain(v)},
        )

    def number_of(self, benchmark: str, prompt: str, media: Sequence[PairMedia]) -> int:
        """Return the number of a pair in its benchmark, the same for each of its judgements."""
        known = self._numbers.setdefault(benchmark, {})
        return known.setdefault((prompt, frozenset(media)), len(known))

    def id_of(self, name: str, rater: Any) -> str:
        """Return an id of one judgement: the pair's, the rater's, and a number if repeated."""
        found = name if str(rater) in name.split("/")[1:] else f"{name}/{rater}"
        self._ids[found] += 1
        return found if self._ids[found] == 1 else f"{found}#{self._ids[found]}"

    def media(self, value: Any) -> PairMedia:
        """Return encoded bytes, or a path or URL below `root`; accepts `{bytes, path}` too."""
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value:
            raise PreferenceError(f"expected a media path, got {value!r}")
        if value.startswith(DATA_URL):
            return _decoded(value)
        if is_remote(value) or isinstance(self.root, UrlPath):
            return self._remote(value)
        if reason := foreign_path(self.root, value):
            raise PreferenceError(reason)
        return local_path(self.root, value)

    def _remote(self, value: str) -> Remote:
        url = UrlPath(value) if is_remote(value) or not isinstance(self.root, UrlPath) else (
            self.root.below(value))  # fmt: skip
        if url is None or url.origin not in self.homes:
            raise PreferenceError(
                f"{shown(value)}: expected media in the bucket or on the host of the file of pairs",
                hint="Name the bucket or host of the media: --root URL",
            )
        return Remote(url.url)


def _decoded(url: str) -> bytes:
    """Return the bytes of a data URL: `data:image/png;base64,...`."""
    head, _, body = url.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise PreferenceError(f"invalid data URL: {url[:40]}... (expected base64)") from None


def number_in(place: str, row: Row, name: str) -> float | None:
    """Return the number in a column, None if empty; raises PreferenceError for another value."""
    value = row.get(name)
    if is_missing(value):
        return None
    number = as_number(value)
    if number is None:
        raise PreferenceError(f"{place}: {name}: expected a number, got {value!r}")
    return number


def as_number(value: Any) -> float | None:
    """Return a finite number, also from text; None for another value."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def value_text(value: Any) -> str:
    """Return a value as text that is the same however a format writes it: 1, "1.0" and 1.0."""
    number = as_number(value)
    if number is not None:
        return str(int(number)) if number.is_integer() else str(number)
    return str(value).strip().casefold()


def is_missing(value: Any) -> bool:
    """Return True for null, an empty cell, and the NaN that data frames write for null."""
    if isinstance(value, list | dict):
        return False
    return value is None or value == "" or value != value


def text_of(value: Any) -> str:
    """Return a value as text; null is empty."""
    return "" if value is None else str(value)


def merged_row(rows: Sequence[Placed]) -> dict[str, Any]:
    """Return a row with the columns of all rows; a value is null only if it is so in each row."""
    merged: dict[str, Any] = {}
    for _, row in rows:
        for name, value in row.items():
            if is_missing(merged.get(name)):
                merged[name] = value
    return merged


def is_plain(value: Any) -> bool:
    """Return True for a value that a column of a report can have."""
    return isinstance(value, str | int | float)
