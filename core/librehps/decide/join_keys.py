"""Keys that tell which rows of two score tables are of the same content and prompt."""

import os.path
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.decide.join_source import key_column
from librehps.scores.file_table import batches_of
from librehps.scores.key_codes import Keys, column_keys
from librehps.scores.media_folder import INSIDE, URL
from librehps.scores.score_table import ScoreTable
from librehps.scores.scored_file import Mask, absolute_media, is_text
from librehps.scores.select import ok_rows

Numbers = NDArray[np.integer[Any]]
BLOCK_ROWS = 1 << 20
# An odd number, so that products keep all bits of a key.
MIX = np.uint64(0x9E3779B97F4A7C15)
# What two spellings of a path may differ in.
DOTS = re.compile(r"(^|/)\.{1,2}(/|$)|//")


@dataclass(frozen=True)
class RowKeys:
    """A 64-bit key and a 32-bit check of each row; `is_ok` tells rows without an error.

    `bare` is the number of rows without an error that have no key, as of media in memory.
    """

    keys: Keys
    checks: NDArray[np.uint32]
    is_ok: Mask
    bare: int


@dataclass(frozen=True)
class Matches:
    """The row of the other table for each row, -1 for none, and why a row has none.

    `failed`: its row there is an error. `doubled`: the other rows with the same key as its row,
    each with the first of them.
    """

    places: Numbers
    failed: Mask
    doubled: tuple[Numbers, Numbers]


def row_keys(table: ScoreTable, key: str, with_prompt: bool) -> RowKeys:
    """Return the keys of the rows: of sha256, media or id, and the prompt."""
    rows, source = len(table), table.source
    columns = [key_column(source, name) for name in (key, *(["prompt"] if with_prompt else []))]
    names = [name for name in columns if name is not None]
    is_ok = ok_rows(source) if "status" in source.column_names else np.ones(rows, dtype=bool)
    keys, checks = np.empty(rows, np.uint64), np.empty(rows, np.uint32)
    plain = partial(_whole_paths, folder=_start(table, names[0])) if key == "media" else _as_text
    first = bare = 0
    for batch in batches_of(source, names, encoded=key != "media"):
        at = slice(first, first + len(batch))
        first += len(batch)
        content = plain(batch.column(0))
        bare += int(np.count_nonzero(np.asarray(content.is_null()) & is_ok[at]))
        keys[at], checks[at] = _two_words(content)
        if len(names) > 1:
            words, more = _two_words(_as_text(batch.column(1)))
            keys[at] = keys[at] * MIX ^ words
            checks[at] = checks[at] * np.uint32(31) + more
    return RowKeys(keys, checks, is_ok, bare)


def match(own: RowKeys, other: RowKeys) -> Matches:
    """Return the row of the other table for each row of our own."""
    sound = np.flatnonzero(other.is_ok).astype(np.int32)
    order = sound[np.argsort(other.keys[sound])]
    found = other.keys[order]
    places = _places(own, other, found, order)
    broken = np.flatnonzero(~other.is_ok)
    broken = broken[np.argsort(other.keys[broken])]
    failed = (places < 0) & (_places(own, other, other.keys[broken], broken) >= 0)
    return Matches(places, failed, _doubled(found, order, places, len(other.keys)))


def _places(own: RowKeys, other: RowKeys, found: Keys, order: Numbers) -> Numbers:
    """Return the row of the other table, whose sorted keys are `found`, for each own row."""
    places = np.full(len(own.keys), -1, dtype=np.int32)
    if not len(found):
        return places
    for start in range(0, len(places), BLOCK_ROWS):
        wanted = own.keys[start : start + BLOCK_ROWS]
        # Keys in order are found several times faster.
        by_key = np.argsort(wanted)
        at = np.empty(len(wanted), dtype=np.int64)
        at[by_key] = np.searchsorted(found, wanted[by_key])
        rows = order[np.minimum(at, len(found) - 1)]
        is_same = other.keys[rows] == wanted
        is_same &= other.checks[rows] == own.checks[start : start + BLOCK_ROWS]
        places[start : start + BLOCK_ROWS] = np.where(is_same, rows, -1)
    return places


def _doubled(found: Keys, order: Numbers, places: Numbers, rows: int) -> tuple[Numbers, Numbers]:
    """Return the rows with the key of an earlier row that is matched, and these earlier rows."""
    again = np.flatnonzero(found[1:] == found[:-1]) + 1
    if not len(again):
        return again, again
    starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
    firsts = starts[np.searchsorted(starts, again, side="right") - 1]
    is_matched = np.zeros(rows, dtype=bool)
    is_matched[places[places >= 0]] = True
    wanted = is_matched[order[firsts]]
    return order[again[wanted]], order[firsts[wanted]]


def _start(table: ScoreTable, name: str) -> str:
    """Return the folder in which the relative media of a table lie."""
    for batch in batches_of(table.source, [name]):
        media = batch.column(0).drop_null()
        if len(media):
            return table.folder.start(str(media[0].as_py()).partition(INSIDE)[0])
    return table.folder.start(None)


def _whole_paths(media: Any, folder: str) -> Any:
    """Return absolute paths and URLs, each in its shortest spelling."""
    whole = absolute_media(media, folder)
    # Most paths are plain, which a search for two texts tells in less time than the pattern.
    maybe = pc.or_(pc.match_substring(whole, "/."), pc.match_substring(whole, "//"))
    if not pc.any(maybe).as_py():
        return whole
    is_odd = pc.match_substring_regex(whole, DOTS.pattern)
    is_odd = pc.and_(is_odd, pc.invert(pc.match_substring(whole, URL)))
    if not pc.any(is_odd).as_py():
        return whole
    plain = [os.path.normpath(path) for path in whole.filter(is_odd).to_pylist()]
    return pc.replace_with_mask(whole, is_odd.fill_null(False), pa.array(plain, pa.string()))


def _as_text(column: Any) -> Any:
    is_encoded = pa.types.is_dictionary(column.type) and is_text(column.type.value_type)
    return column if is_encoded else column.cast(pa.string())


def _two_words(column: Any) -> tuple[Keys, NDArray[np.uint32]]:
    words = column_keys(column)
    return words[:, 0], words[:, 1].astype(np.uint32)
