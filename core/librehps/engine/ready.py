"""Items after their decode workers: decoded, or with the error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from librehps.engine.decode import Decoded
from librehps.errors import ItemError
from librehps.types import Item


@dataclass(slots=True, eq=False)
class Ready:
    """An item after its decode worker: decoded, or with the error."""

    item: Item
    decoded: Decoded | None
    error: ItemError | None = None


@dataclass(slots=True, eq=False)
class ReadyItems(Sequence[Ready]):
    """Items after their decode workers as columns; a `Ready` is made when it is asked for.

    `errors` are those of items by index. An item that has neither is not ready yet.
    """

    items: list[Item]
    decoded: list[Decoded | None]
    errors: dict[int, ItemError]

    @classmethod
    def awaited(cls, items: Iterable[Item]) -> "ReadyItems":
        """Return items of which none is ready yet."""
        found = list(items)
        return cls(found, [None] * len(found), {})

    @classmethod
    def of(cls, ready: Iterable[Ready]) -> "ReadyItems":
        """Return the items as columns."""
        if isinstance(ready, ReadyItems):
            return ready
        ready = list(ready)
        errors = {at: one.error for at, one in enumerate(ready) if one.error is not None}
        return cls([one.item for one in ready], [one.decoded for one in ready], errors)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Ready: ...
    @overload
    def __getitem__(self, at: slice) -> "ReadyItems": ...
    def __getitem__(self, at: int | slice) -> "Ready | ReadyItems":
        if isinstance(at, slice):
            errors = {}
            if self.errors:
                places = enumerate(range(len(self))[at])
                errors = {to: self.errors[of] for to, of in places if of in self.errors}
            return ReadyItems(self.items[at], self.decoded[at], errors)
        at = range(len(self))[at]
        return Ready(self.items[at], self.decoded[at], self.errors.get(at))

    def put(self, at: int, ready: Ready) -> None:
        """Note that an item is ready."""
        self.items[at] = ready.item
        if ready.error is not None:
            self.errors[at] = ready.error
        self.decoded[at] = ready.decoded

    def extend(self, others: "ReadyItems") -> None:
        """Append the items of `others`."""
        start = len(self)
        self.errors.update({start + at: error for at, error in others.errors.items()})
        self.items += others.items
        self.decoded += others.decoded

    def begun(self) -> "ReadyItems":
        """Return the items before the first that is not ready."""
        for at, one in enumerate(self.decoded):
            if one is None and at not in self.errors:
                return self[:at]
        return self
