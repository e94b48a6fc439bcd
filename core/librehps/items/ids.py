"""The ids of a source, to find duplicates: 11 to 15 bytes of memory each, however long they are.

Hashes are kept in memory, and the ids themselves in a temporary file, which is only read where two
hashes are equal.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from librehps.errors import DuplicateIdError, ItemError, OutputError, UsageError
from librehps.items.item_columns import ItemColumns
from librehps.types import Item

RECENT_IDS = 4096


class SeenIds:
    """The ids seen so far; close the object to delete its temporary file."""

    def __init__(self) -> None:
        # numpy is imported when ids are compared: a command without items needs none.
        from librehps.key_index import HashSet

        self._hashes = HashSet()
        self._texts: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        # Ids that came alone, and are not in the set or the file yet.
        self._recent: set[str] = set()

    def add(self, identity: str) -> bool:
        """Add an id; return False, and change nothing, for an id that was added before."""
        if identity in self._recent:
            return False
        if self._hashes.has(hash(identity)) and self._has(identity):
            return False
        self._recent.add(identity)
        if len(self._recent) == RECENT_IDS:
            self._keep(list(self._recent))
            self._recent.clear()
        return True

    def first_repeated(self, ids: Sequence[str]) -> str | None:
        """Add ids, and return None; return the first that was added before, and add none."""
        repeated = self._keep([*self._recent, *ids] if self._recent else ids)
        if repeated is None:
            self._recent.clear()
        return repeated

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that were added before."""
        places, _ = self._hashes.hits(list(map(hash, ids)))
        return self._recent.intersection(ids) | self._in_file(ids[at] for at in places.tolist())

    def close(self) -> None:
        self._texts.close()

    def _has(self, identity: str) -> bool:
        """Return whether the file has the id itself, and not only another one of equal hash."""
        return bool(self._in_file([identity]))

    def _in_file(self, ids: Iterable[str]) -> set[str]:
        """Return the ids that the file has, which is read once for all of them."""
        left, found = {_lines([identity]): identity for identity in ids}, set[str]()
        if not left:
            return found
        self._texts.seek(0)
        for line in self._texts:
            if line in left:
                found.add(left.pop(line))
                if not left:
                    break
        self._texts.seek(0, os.SEEK_END)
        return found

    def _keep(self, ids: Sequence[str]) -> str | None:
        """Move ids to the set and the file; return the first that was added before."""
        hashes = list(map(hash, ids))
        known, _ = self._hashes.hits(hashes)
        if known.size or len(set(hashes)) < len(hashes):
            earlier, suspects = set[str](), set(known.tolist())
            for at, identity in enumerate(ids):
                if identity in earlier or (at in suspects and self._has(identity)):
                    return identity
                earlier.add(identity)
        self._hashes.add(hashes)
        try:
            self._texts.write(_lines(ids))
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: ids cannot be written: {error.strerror}",
                "Free disk space there, or name another folder: export TMPDIR=FOLDER",
            ) from error
        return None


def check_unique(seen: SeenIds, ids: Sequence[str]) -> None:
    """Add ids; raises UsageError for a duplicate id."""
    if (repeated := seen.first_repeated(ids)) is not None:
        raise _duplicate(repeated)


def _duplicate(identity: str) -> UsageError:
    return UsageError(
        f"duplicate id {identity!r}",
        hint="Use a column of unique ids with --id-column, or rename one file.",
    )


def unique(seen: SeenIds, items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items unchanged; raises UsageError for a duplicate id."""
    for item in items:
        if not seen.add(item.id):
            raise _duplicate(item.id)
        yield item


class NumberedIds:
    """Distinct ids for items of which nothing can be refused: a later one gets `#2`, `#3`, .."""

    def __init__(self, seen: SeenIds) -> None:
        self._seen = seen
        self._numbers: dict[str, Iterator[int]] = {}

    def items(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; one whose id an earlier one has gets an id of its own and a problem."""
        for item in items:
            if self._seen.add(item.id):
                yield item
            else:
                identity, problem = self._repeated(item.id)
                yield replace(item, id=identity, problem=item.problem or problem)

    def columns(self, found: ItemColumns) -> ItemColumns:
        """Return the items as `items` yields them."""
        if self._seen.first_repeated(found.ids) is None:
            return found
        ids, problems = list(found.ids), dict(found.problems)
        known = self._seen.known(ids)
        for at, identity in enumerate(found.ids):
            if identity in known or not self._seen.add(identity):
                ids[at], problem = self._repeated(identity)
                problems.setdefault(at, problem)
            known.add(identity)
        return replace(found, fields=[ids, *found.fields[1:]], problems=problems)

    def _repeated(self, identity: str) -> tuple[str, ItemError]:
        numbers = self._numbers.setdefault(identity, count(2))
        new = next(name for number in numbers if self._seen.add(name := f"{identity}#{number}"))
        return new, DuplicateIdError(
            f"duplicate id {identity!r}: an earlier item has it (expected an id of its own, as in "
            'JSON Lines: {"id": "1", "media": "a.png"})'
        )


def _lines(ids: Sequence[str]) -> bytes:
    """Return the ids, each as a line."""
    text = "\n".join(ids)
    if "\\" in text or text.count("\n") >= len(ids):
        text = "\n".join(i.replace("\\", "\\\\").replace("\n", "\\n") for i in ids)
    return f"{text}\n".encode(errors="surrogatepass")
