"""Changes of an update: its rows compared with those of the old output, by id and content."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from librehps.key_index import KeyIndex
from librehps.runs.known_rows import CONTENT, NO_KEY, Keys, row_keys

COLUMNS = ("id", *CONTENT)


class Changes(NamedTuple):
    """The number of items of the source by what became of their rows, and of vanished items.

    `new` items had no row, `changed` ones another content or prompt, `moved` ones another id;
    `kept` rows are the old ones; `retried` rows had an error that may pass, or no hash of their
    media. `vanished` rows of items that are no longer in the source are in the output, `pruned`
    ones were dropped.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    kept: int = 0
    retried: int = 0
    vanished: int = 0
    pruned: int = 0

    @property
    def has_any(self) -> bool:
        """True if a row of the output is not as it was."""
        return bool(self.new or self.changed or self.moved or self.retried or self.pruned)

    def text(self) -> str:
        """Return the counts in one line; those that are rare only where they are not 0."""
        always = ("new", "changed", "kept")
        pairs = [(name, n) for name, n in self._asdict().items() if n or name in always]
        return ", ".join(f"{n} {name}" for name, n in pairs)


class Comparison:
    """A comparison of new rows with old ones: `ids` in batches, `keys` of the same old rows."""

    def __init__(self, ids: Iterable[Sequence[str]], keys: Keys) -> None:
        self._keys, self._by_id, start = keys, KeyIndex(), 0
        for some in ids:
            self._by_id.add(_digests(some), start + np.arange(len(some)))
            start += len(some)
        self._is_seen = np.zeros(start, bool)
        self._found: Counter[str] = Counter()
        # New ids by content: an old row of the same content whose id is gone has moved there.
        self._added: Counter[bytes] = Counter()

    def add(self, table: Any, is_kept: Any) -> None:
        """Compare the columns COLUMNS of new rows, of which some were made without their media."""
        keys = row_keys(table)
        old = self._by_id.find(_digests(table["id"].to_pylist()))
        is_old = old >= 0
        numbers = old[is_old]
        self._is_seen[numbers] = True
        before, now = self._keys[numbers], keys[is_old]
        has_key = before != NO_KEY
        is_error = ~has_key & is_kept[is_old] & (now == NO_KEY)
        self._found["kept"] += int((has_key & (before == now) | is_error).sum())
        self._found["changed"] += int((has_key & (before != now)).sum())
        self._found["retried"] += int((~has_key & ~is_error).sum())
        self._added.update(keys[~is_old].tolist())

    def result(self, prune: bool) -> tuple[Changes, NDArray[np.bool_]]:
        """Return the counts, and a mask of the old rows whose items have vanished."""
        gone, left = ~self._is_seen, self._added.copy()
        left.pop(NO_KEY.tobytes(), None)
        for at in np.flatnonzero(gone & (self._keys != NO_KEY)).tolist():
            key = self._keys[at].tobytes()
            if left[key] > 0:
                left[key] -= 1
                gone[at] = False
        moved = int((~self._is_seen & ~gone).sum())
        ends = {"pruned" if prune else "vanished": int(gone.sum())}
        new = self._added.total() - moved
        return Changes(new=new, moved=moved, **self._found, **ends), gone


def _digests(texts: Sequence[str]) -> list[bytes]:
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
