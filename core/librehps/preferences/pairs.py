"""Preference data: pairs of media of one prompt, and which of the two people preferred."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from librehps.errors import PreferenceError

LEAST = 2
SHOWN = 3


@dataclass(frozen=True)
class Pair:
    """Two media of one prompt; media are paths or encoded bytes.

    `preference` maps an axis to the probability, or share of votes, that a is better, in [0, 1];
    an unknown axis is absent. `index` counts within its benchmark; `rating_*` are absolute ratings,
    `extra` the file's other columns.
    """

    pair_id: str
    prompt: str
    media_a: Path | bytes
    media_b: Path | bytes
    preference: Mapping[str, float]
    benchmark: str
    index: int
    rating_a: float | None = None
    rating_b: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preferences:
    """The pairs of a file, of which `left_out` says how many were not taken, by reason."""

    pairs: list[Pair]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def ties(self, axis: str = "overall") -> int:
        """Pairs of which neither side is preferred."""
        return sum(pair.preference.get(axis) == 0.5 for pair in self.pairs)


def checked(
    path: Path, pairs: Iterable[Pair], left_out: Counter[str], skip_missing: bool
) -> Preferences:
    """The pairs, if they can be worked with; raises PreferenceError.

    Refused: fewer than two pairs, a pair_id used twice, and, unless `skip_missing`, media files
    that do not exist.
    """
    found = list(pairs)
    check_ids(path, found)
    absent = {m for p in found for m in (p.media_a, p.media_b) if _is_absent(m)}
    if absent and not skip_missing:
        raise PreferenceError(
            f"{path}: {len(absent)} media files do not exist: {_some(sorted(map(str, absent)))}",
            hint="Paths are read from the folder of the file, or from --root; "
            "--skip-missing leaves such pairs out.",
        )
    whole = [p for p in found if not {p.media_a, p.media_b} & absent]
    if len(whole) < len(found):
        left_out["media file missing"] += len(found) - len(whole)
    if len(whole) < LEAST:
        raise PreferenceError(f"{path} holds {len(whole)} pairs; at least {LEAST} are needed")
    return Preferences(whole, left_out)


def check_ids(path: Path, pairs: Iterable[Pair]) -> None:
    """Raise PreferenceError for a pair_id that stands in several rows."""
    twice = [name for name, count in Counter(p.pair_id for p in pairs).items() if count > 1]
    if twice:
        raise PreferenceError(
            f"{path}: {len(twice)} values of pair_id stand in several rows: {_some(twice)}",
            hint="Each pair needs an id of its own; without the column, rows are numbered.",
        )


def _is_absent(media: Path | bytes) -> bool:
    return isinstance(media, Path) and not media.exists()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
