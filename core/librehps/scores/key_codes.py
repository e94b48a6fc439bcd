"""Integer codes of texts, equal where the texts are equal, without keeping the texts in memory."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zlib import adler32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from librehps.scores.file_table import FileTable, batches_of, release_unused
from librehps.scores.markers import PART_KEY
from librehps.scores.scored_file import ScoredFile, is_text

log = logging.getLogger("librehps")

Keys = NDArray[np.uint64]
Codes = NDArray[np.int32]
MAX_HEAD_ROWS = 1024
DUPLICATE_COLUMNS = ("media", "prompt")


def text_keys(texts: Any) -> Keys:
    """Return two 64-bit words for each text, (texts, 2): two texts have the same by chance only.

    The first is Python's hash, whose key differs from process to process; the second a checksum,
    so that even among a billion texts no two have both in common.
    """
    values = texts.fill_null("").cast(pa.large_binary()).to_pylist()
    keys = np.empty((len(values), 2), dtype=np.uint64)
    keys[:, 0] = np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64)
    keys[:, 1] = np.fromiter(map(adler32, values), np.uint64, len(values))
    return keys


def codes_of(table: Any, name: str) -> Codes:
    """Return a number for each row, equal for equal values of a column; -1 for null.

    Raises an Arrow error for a column of lists or structs.
    """
    found = table.codes if isinstance(table, FileTable) else {}
    if name not in found:
        columns = (batch.column(0) for batch in batches_of(table, [name], encoded=True))
        found[name] = codes_among(columns, len(table))
    codes: Codes = found[name]
    return codes


def codes_among(columns: Iterable[Any], rows: int) -> Codes:
    """Return the codes of `codes_of` for consecutive arrays, of `rows` values together.

    They are -1, or 0 and all numbers up to the largest.
    """
    codes = np.empty(rows, dtype=np.int32)
    dictionaries: list[Any] = []
    last, start, first = None, 0, 0
    for column in map(_encoded, columns):
        # The batches of a row group may share a dictionary.
        if last is None or not is_same_dictionary(column.dictionary, last):
            start += 0 if last is None else len(last)
            last = column.dictionary
            dictionaries.append(_comparable(last))
        numbers = column.indices.fill_null(-1).to_numpy()
        codes[first : first + len(numbers)] = np.where(numbers < 0, -1, numbers + start)
        first += len(numbers)
    if not dictionaries:
        return codes
    # All chunks of the result have one dictionary.
    encoded = pa.chunked_array(dictionaries).dictionary_encode()
    del dictionaries, last
    # The last entry is for null, whose code is -1.
    last_code = np.array([-1], np.int32)
    places = np.concatenate(
        [*(chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks), last_code]
    )
    is_used = np.zeros(int(places.max()) + 2, dtype=bool)
    del encoded
    release_unused()
    for part in _parts(codes):
        part[:] = places[part]
        is_used[part] = True
    _close_gaps(codes, is_used)
    return codes


def _close_gaps(codes: Codes, is_used: NDArray[np.bool_]) -> None:
    """Renumber codes in place, so that all of them are used; `is_used` has -1 at its end."""
    # A dictionary may have values of rows that are left out, or a text in place of null.
    if is_used[:-1].all():
        return
    numbers = np.cumsum(is_used, dtype=np.int32) - 1
    numbers[-1] = -1
    for part in _parts(codes):
        part[:] = numbers[part]


def _parts(codes: Codes) -> Iterator[Codes]:
    """Yield views of some codes at a time."""
    for at in range(0, len(codes), 1 << 20):
        yield codes[at : at + (1 << 20)]


def _encoded(column: Any) -> Any:
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        return column
    if not is_text(column.type) or not _is_mostly_distinct(column):
        return column.dictionary_encode()
    numbers = pa.array(np.arange(len(column), dtype=np.int32))
    numbers = pc.if_else(column.is_valid(), numbers, pa.scalar(None, pa.int32()))
    return pa.DictionaryArray.from_arrays(numbers, column.fill_null(""))


def _is_mostly_distinct(column: Any) -> bool:
    """Return True if most of the first values differ, so that a dictionary would not help."""
    head = column.slice(0, MAX_HEAD_ROWS)
    return len(head.unique()) > len(head) // 2


def is_same_dictionary(one: Any, two: Any) -> bool:
    """Return True for arrays that share their memory."""
    addresses = [[b and b.address for b in values.buffers()] for values in (one, two)]
    return len(one) == len(two) and one.offset == two.offset and addresses[0] == addresses[1]


def _comparable(values: Any) -> Any:
    """Return distinct values of few bytes each, in place of texts of any length."""
    if not is_text(values.type):
        return values
    keys = text_keys(values)
    return pa.Array.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys)])


def warn_of_duplicates(table: Any, files: Sequence[ScoredFile]) -> None:
    """Log a warning for rows with the same media and prompt, as of a file that is read twice."""
    fields = {field.name: field.type for field in table.schema}
    if not all(is_text(fields.get(name, pa.null())) for name in DUPLICATE_COLUMNS):
        return
    if _are_parts_of_one_run(files):
        return
    found = []
    for batch in batches_of(table, DUPLICATE_COLUMNS, encoded=True):
        media, prompt = (column_keys(column)[:, 0] for column in batch.columns)
        pairs = media * np.uint64(0x9E3779B97F4A7C15) ^ prompt
        found.append(pairs[np.asarray(batch.column(0).is_valid())])
    keys = np.concatenate([np.empty(0, np.uint64), *found])
    duplicates = len(keys) - len(np.unique(keys))
    if duplicates:
        log.warning(
            "warning: %d duplicate rows (same media and prompt): is a file given twice, "
            "or together with its own parts?",
            duplicates,
        )


def column_keys(column: Any) -> Keys:
    """Return the two words of each text's key, (texts, 2); 0 for null."""
    encoded = _encoded(column)
    keys = np.append(text_keys(encoded.dictionary), np.zeros((1, 2), np.uint64), axis=0)
    found: Keys = keys[encoded.indices.fill_null(-1).to_numpy()]
    return found


def _are_parts_of_one_run(files: Sequence[ScoredFile]) -> bool:
    """Return True for different parts of one output folder, whose rows are of different items."""
    stored = [(file.schema.metadata or {}).get(PART_KEY.encode()) for file in files]
    if not all(stored):
        return False
    parts = [json.loads(part) for part in stored if part]
    return len({part["run"] for part in parts}) == 1 and len(
        {part["first"] for part in parts}
    ) == len(parts)
