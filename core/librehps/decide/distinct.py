"""Near-duplicates: of media that look alike, the best row in its group stays."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.decide.groups import group_numbers
from librehps.decide.near_hashes import FRAME_WORDS, Indices, Words, apart, distances
from librehps.decide.rank import Ranked, rank
from librehps.errors import UsageError
from librehps.scores.columns import PHASH
from librehps.scores.file_table import batches_of
from librehps.scores.score_table import Scores, as_score_table
from librehps.scores.scored_file import Mask
from librehps.scores.select import check_text, ok_rows

# Bits of the 256 of a frame that near-duplicates differ in at most; see benchmarks/distinct.py.
DEFAULT_BITS = 46
# With more, pictures that have nothing in common count as near-duplicates.
MAX_BITS = 96
FRAME_DIGITS = FRAME_WORDS * 16
# Larger groups are chosen from one at a time.
MAX_SMALL_GROUP = 24
GROUPS_AT_ONCE = 1 << 15
# A group of as many rows takes a few seconds.
MAX_COUNTED_ROWS = 50_000
HINT = "Add the column: librehps score PATH... -o FILE --update --columns full"


class Looks(NamedTuple):
    """The number of `rows` without an error, and of different `looks` among them."""

    rows: int
    looks: int


@dataclass
class _Hashes:
    """Hashes of one length, and the numbers of their rows."""

    rows: list[Indices] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)


def count_looks(
    scores: Scores, per: str | None = "prompt", bits: int = DEFAULT_BITS
) -> Looks | None:
    """Return how many looks the rows have, counted within each value of the column `per`, if any.

    The first row of each look stands for it. None for rows without perceptual hashes, and for so
    many rows in a group that comparing them takes long.
    """
    table = as_score_table(scores).source
    rows = np.flatnonzero(ok_rows(table))
    if PHASH not in table.column_names or has_gaps(table, rows):
        return None
    codes = group_numbers(table, per)
    if np.bincount(codes[rows] + 1).max(initial=0) > MAX_COUNTED_ROWS:
        return None
    return Looks(len(rows), int(distinct_rows(table, rows, codes, bits).sum()))


def has_gaps(table: Any, rows: Indices) -> bool:
    """Return True if one of the rows has no perceptual hash."""
    batches = batches_of(table, [PHASH])
    masks = [np.asarray(_lacks_hash(batch.column(0))) for batch in batches]
    return bool(np.concatenate([np.empty(0, bool), *masks])[rows].any())


def _lacks_hash(column: Any) -> Any:
    return pc.equal(pc.binary_length(column.cast(pa.string())).fill_null(0), 0)


def bits_of(distinct: bool | int) -> int | None:
    """Return the bits for the option `distinct`: True is DEFAULT_BITS, False is None.

    Raises UsageError for a number that is not one of bits of a frame.
    """
    if isinstance(distinct, bool):
        return DEFAULT_BITS if distinct else None
    if not 0 <= distinct <= MAX_BITS:
        raise UsageError(f"--distinct-bits: expected 0 to {MAX_BITS}, got {distinct}")
    return distinct


def distinct_rows(table: Any, ranked: Indices, codes: Indices, bits: int = DEFAULT_BITS) -> Mask:
    """Return a mask (rows,) of the `ranked` rows that look like no better one in their group.

    `ranked` are row numbers, best first; `codes` (rows,) are equal within a group. Best first, a
    row is left out if its hash differs in at most `bits` bits from that of a row that stays; of a
    clip, in the mean of its frames. Clips of different numbers of frames look different, as do
    stills and clips. Raises UsageError for a ranked row without a hash.
    """
    place = np.full(len(table), -1, dtype=np.int64)
    place[ranked] = np.arange(len(ranked))
    kept = np.zeros(len(table), dtype=bool)
    for frames, rows, words in _hashes(table, place >= 0):
        order = np.lexsort((place[rows], codes[rows]))
        rows, words = rows[order], words[order]
        kept[rows] = _apart_in_groups(words, codes[rows], bits * frames)
    return kept


def with_looks(ranked: Ranked, table: Any, codes: Indices, bits: int) -> Ranked:
    """Return the ranking without rows that look like a better row of their group."""
    kept = distinct_rows(table, ranked.rows, codes, bits)
    scores = np.full(len(table), np.nan)
    scores[ranked.rows] = ranked.scores
    scores[~kept] = np.nan
    return rank(scores, codes)


def _hashes(table: Any, wanted: Mask) -> Iterator[tuple[int, Indices, Words]]:
    """Yield (frames, row numbers, hashes) for each number of frames."""
    if PHASH not in table.column_names:
        raise UsageError(f"no column {PHASH}: near-duplicates are unknown", hint=HINT)
    check_text(table, PHASH)
    found: dict[int, _Hashes] = {}
    first = lacking = 0
    for batch in batches_of(table, [PHASH]):
        rows = np.flatnonzero(wanted[first : first + len(batch)])
        texts = batch.column(0).cast(pa.string()).take(pa.array(rows))
        lacking += int(np.count_nonzero(_lacks_hash(texts)))
        digits = pc.binary_length(texts).fill_null(0).to_numpy()
        for length in np.unique(digits[digits > 0]).tolist():
            some = np.flatnonzero(digits == length)
            one = found.setdefault(length, _Hashes())
            one.rows.append(first + rows[some])
            one.words.append(_words(texts.take(pa.array(some)), length))
        first += len(batch)
    if lacking:
        raise UsageError(f"{lacking} of {wanted.sum()} rows have no perceptual hash", hint=HINT)
    for length in list(found):
        one = found.pop(length)
        yield length // FRAME_DIGITS, np.concatenate(one.rows), np.concatenate(one.words)


def _words(texts: Any, length: int) -> Words:
    joined = "".join(texts.to_pylist())
    if length % FRAME_DIGITS or not re.fullmatch("[0-9a-f]*", joined):
        raise UsageError(
            f"the column {PHASH} holds {texts[0].as_py()!r}; expected {FRAME_DIGITS} hexadecimal "
            "digits a frame",
            hint=HINT,
        )
    words: Words = np.frombuffer(bytes.fromhex(joined), np.uint64).reshape(len(texts), -1)
    return words


def _apart_in_groups(words: Words, codes: Indices, limit: int) -> Mask:
    """Return which hashes stay; those of a group are together, best first."""
    kept = np.ones(len(words), dtype=bool)
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    sizes = np.diff(starts, append=len(words))
    for at in np.flatnonzero(sizes > MAX_SMALL_GROUP).tolist():
        rows = slice(starts[at], starts[at] + sizes[at])
        kept[rows] = apart(words[rows], limit)
    is_small = sizes <= MAX_SMALL_GROUP
    starts, sizes = starts[is_small], sizes[is_small]
    for at in range(0, len(starts), GROUPS_AT_ONCE):
        some = slice(at, at + GROUPS_AT_ONCE)
        _choose_small(words, starts[some], sizes[some], limit, kept)
    return kept


def _choose_small(
    words: Words, starts: Indices, sizes: Indices, limit: int, kept: NDArray[np.bool_]
) -> None:
    """Set `kept` for the hashes of groups, the second of all groups before the third."""
    for place in range(1, int(sizes.max(initial=0))):
        rows = starts[sizes > place] + place
        for better in range(1, place + 1):
            near = distances(words[rows], words[rows - better]) <= limit
            kept[rows] &= ~(near & kept[rows - better])
