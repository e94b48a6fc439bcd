"""Preference data: pairs of media under one prompt, and the preferences of people."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.errors import PreferenceError
from librehps.storage.url_path import AnyPath
from librehps.types import Stored

PairMedia = Path | Stored | bytes

MIN_PAIRS = 2
MAX_NAMED = 3


@dataclass(frozen=True)
class Pair:
    """A pair of media under one prompt; media are paths, URLs or encoded bytes.

    `preference` maps an axis to the probability, or share of votes, that a is better, in [0, 1]; an
    axis without a preference is absent. `index` is the number of the pair in its benchmark;
    `rating_*` are absolute ratings, `extra` the file's other columns.
    """

    pair_id: str
    prompt: str
    media_a: PairMedia
    media_b: PairMedia
    preference: Mapping[str, float]
    benchmark: str
    index: int
    rating_a: float | None = None
    rating_b: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preferences:
    """The pairs of a file; `left_out` is the number of skipped pairs by reason.

    `name` is that of the file.
    """

    pairs: list[Pair]
    left_out: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    @property
    def columns(self) -> list[str]:
        """The sorted names of the file's other columns."""
        return sorted({name for pair in self.pairs for name in pair.extra})

    def ties(self, axis: str = "overall") -> int:
        """Return the number of ties on an axis."""
        return sum(pair.preference.get(axis) == 0.5 for pair in self.pairs)


def checked(
    path: AnyPath, pairs: Iterable[Pair], left_out: Counter[str], skip_missing: bool
) -> Preferences:
    """Return the valid pairs; raises PreferenceError.

    Invalid are fewer than two pairs, a duplicate pair_id, and, unless `skip_missing`, media files
    that do not exist. Media at URLs are not looked for.
    """
    found = list(pairs)
    check_ids(path, found)
    absent = {m for p in found for m in (p.media_a, p.media_b) if _is_absent(m)}
    if absent and not skip_missing:
        raise PreferenceError(
            f"{path}: {len(absent)} media files not found: {_some(sorted(map(str, absent)))}",
            hint="Paths are relative to the folder of the file: set another with --root, or skip "
            "such pairs with --skip-missing.",
        )
    whole = [p for p in found if not {p.media_a, p.media_b} & absent]
    if len(whole) < len(found):
        left_out["media file missing"] += len(found) - len(whole)
    if len(whole) < MIN_PAIRS:
        raise PreferenceError(f"{path}: expected at least {MIN_PAIRS} pairs, got {len(whole)}")
    return Preferences(whole, left_out, path.name)


def check_ids(path: AnyPath, pairs: Iterable[Pair]) -> None:
    """Raise PreferenceError for a duplicate pair_id."""
    twice = [name for name, count in Counter(p.pair_id for p in pairs).items() if count > 1]
    if twice:
        raise PreferenceError(
            f"{path}: {len(twice)} duplicate values of pair_id: {_some(twice)}",
            hint="Give each pair its own id, or rename the column to number the rows: --rename "
            "pair_id=my_id. If people judged a pair several times, name the column with the "
            "person: --rename COLUMN=rater.",
        )


def _is_absent(media: PairMedia) -> bool:
    return isinstance(media, Path) and not media.exists()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
