"""The files of a table's rows, of which one may have several names."""

import os
from collections.abc import Hashable, Iterator

import numpy as np
from numpy.typing import NDArray

from librehps.scores.file_table import batches_of
from librehps.scores.media_folder import MediaFolder
from librehps.scores.score_table import ScoreTable

CHUNK_ROWS = 1024
Integers = NDArray[np.int64]


def text_chunks(rows: ScoreTable) -> Iterator[tuple[int, list[str | None]]]:
    """Yield the number of the first row, and the column media, of some rows at a time."""
    start = 0
    for batch in batches_of(rows.source, ["media"]):
        for offset in range(0, len(batch), CHUNK_ROWS):
            yield start + offset, batch.column(0).slice(offset, CHUNK_ROWS).to_pylist()
        start += len(batch)


def file_codes(rows: ScoreTable, codes: Integers, folder: MediaFolder) -> Integers:
    """Return a number for each row's file, -1 for none: links to a file have the same number.

    `codes` has a number for each text of the column media.
    """
    # The last entry is for rows without media, whose code is -1.
    merged = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int64)
    numbers = dict[Hashable, int]()
    for at, texts in text_chunks(rows):
        for code, text in zip(codes[at : at + len(texts)].tolist(), texts, strict=True):
            if text is not None and merged[code] < 0:
                merged[code] = numbers.setdefault(_identity(folder, text), len(numbers))
    return merged[codes]


def _identity(folder: MediaFolder, text: str) -> Hashable:
    """Return an equal value for all names of a file; the text where no file is found."""
    place = folder.whole(text)
    try:
        found = os.stat(place)  # noqa: PTH116 - text, as it is stored
        # Some network file systems number no files.
        return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(place)
    except (OSError, ValueError):
        return text
