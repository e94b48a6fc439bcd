"""A queue whose requests take turns."""

from collections import OrderedDict
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class FairQueue(Generic[Entry]):
    """Entries of groups that take turns; in a group the first comes first. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: OrderedDict[object, OrderedDict[Entry, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, group: object, entry: Entry) -> None:
        """Add an entry as the last of its group."""
        self._groups.setdefault(group, OrderedDict())[entry] = None

    def pop(self) -> Entry:
        """Remove and return the first entry of the group whose turn it is."""
        group, entries = self._groups.popitem(last=False)
        entry, _ = entries.popitem(last=False)
        if entries:
            self._groups[group] = entries
        return entry

    def remove(self, group: object, entry: Entry) -> None:
        """Remove an entry; raises KeyError if absent."""
        entries = self._groups[group]
        del entries[entry]
        if not entries:
            del self._groups[group]
