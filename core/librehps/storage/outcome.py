"""The value or the error of a block that calls code of any author, whose errors may be any."""

from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Outcome(Generic[T]):
    """A block's `value`, which the block sets, or the `error` that ended it, for another thread."""

    value: T
    error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        self.error = error
        return True
