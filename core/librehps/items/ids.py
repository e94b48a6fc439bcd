"""The ids of a source, to find duplicates: 12 to 17 bytes of memory each, however long they are.

Hashes are kept in memory, and the ids themselves in a temporary file, which is only read where two
hashes are equal.
"""

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from librehps.errors import OutputError, UsageError
from librehps.types import Item

# A hash has 64 bits: TABLE_BITS choose a table, the next SLOT_BITS a slot in this table.
TABLE_BITS, SLOT_BITS, HASH_BITS = 6, 32, 64
TABLE_SHIFT, SLOT_SHIFT = HASH_BITS - TABLE_BITS, HASH_BITS - TABLE_BITS - SLOT_BITS
HASH_MASK, SLOT_MASK = (1 << HASH_BITS) - 1, (1 << SLOT_BITS) - 1
FIRST_SLOTS, GROWTH, MAX_LOAD = 64, 1.4, 0.7
# Free slots behind the last one, for hashes whose slot is taken.
SPARE_SLOTS = 64
RECENT_IDS = 4096


class SeenIds:
    """The ids seen so far; close the object to delete its temporary file."""

    def __init__(self) -> None:
        # Many small tables, so that one that grows is copied in little memory.
        empty = bytes(8 * (FIRST_SLOTS + SPARE_SLOTS))
        self._tables = [array("Q", empty) for _ in range(1 << TABLE_BITS)]
        self._slots = [FIRST_SLOTS] * len(self._tables)
        self._free = [int(FIRST_SLOTS * MAX_LOAD)] * len(self._tables)
        self._texts: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._recent: list[str] = []

    def add(self, identity: str) -> bool:
        """Add an id; return False, and change nothing, for an id that was added before."""
        return self.first_repeated((identity,)) is None

    def first_repeated(self, ids: Iterable[str]) -> str | None:
        """Add ids up to the first that was added before; return this one, None without one."""
        tables, slots, free, recent = self._tables, self._slots, self._free, self._recent
        for identity in ids:
            # 0 is a free slot.
            key = hash(identity) & HASH_MASK or 1
            number = key >> TABLE_SHIFT
            table = tables[number]
            at = (key >> SLOT_SHIFT & SLOT_MASK) * slots[number] >> SLOT_BITS
            while found := table[at]:
                if found == key and self._has(identity):
                    return identity
                at += 1
            table[at] = key
            free[number] -= 1
            if not free[number] or at + 1 == len(table):
                self._grow(number)
            recent.append(identity)
            if len(recent) == RECENT_IDS:
                self._keep()
        return None

    def close(self) -> None:
        self._texts.close()

    def _has(self, identity: str) -> bool:
        """Return whether the id itself was added, and not only another one of equal hash."""
        if identity in self._recent:
            return True
        self._texts.seek(0)
        is_known = _lines([identity]) in self._texts
        self._texts.seek(0, os.SEEK_END)
        return is_known

    def _keep(self) -> None:
        """Move the recent ids to the file."""
        try:
            self._texts.write(_lines(self._recent))
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: ids cannot be written: {error.strerror}",
                "Free disk space there, or name another folder: export TMPDIR=FOLDER",
            ) from error
        self._recent.clear()

    def _grow(self, number: int) -> None:
        """Move the hashes of a table to one of more slots, in their order."""
        import numpy as np

        old = np.frombuffer(self._tables[number], np.uint64)
        keys = np.sort(old[old != 0])
        slots = int(self._slots[number] * GROWTH)
        homes = ((keys >> np.uint64(SLOT_SHIFT)) & np.uint64(SLOT_MASK)) * np.uint64(slots)
        count = np.arange(len(keys))
        places = (homes >> np.uint64(SLOT_BITS)).astype(np.int64) - count
        # Each hash lies in its own slot, or behind the hash before it.
        places = np.maximum.accumulate(places) + count
        table = np.zeros(max(slots, int(places[-1])) + SPARE_SLOTS, np.uint64)
        table[places] = keys
        self._tables[number] = array("Q", table.tobytes())
        self._slots[number] = slots
        self._free[number] = int(slots * MAX_LOAD) - len(keys)


def check_unique(seen: SeenIds, ids: Sequence[str]) -> None:
    """Add ids; raises UsageError for a duplicate id."""
    if (repeated := seen.first_repeated(ids)) is not None:
        raise _duplicate(repeated)


def _duplicate(identity: str) -> UsageError:
    return UsageError(
        f"duplicate id {identity!r}",
        hint="Use a column of unique ids with --id-column, or rename one file.",
    )


def unique(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items unchanged; raises UsageError for a duplicate id."""
    seen = SeenIds()
    try:
        for item in items:
            if not seen.add(item.id):
                raise _duplicate(item.id)
            yield item
    finally:
        seen.close()


def _lines(ids: Sequence[str]) -> bytes:
    """Return the ids, each as a line."""
    text = "\n".join(ids)
    if "\\" in text or text.count("\n") >= len(ids):
        text = "\n".join(i.replace("\\", "\\\\").replace("\n", "\\n") for i in ids)
    return f"{text}\n".encode(errors="surrogatepass")
