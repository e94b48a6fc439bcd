"""A property that is computed once, without a lock."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """A decorator as `functools.cached_property`, for objects that one thread uses at a time.

    On Python 3.11 that one holds a lock that all objects share, so that threads take turns.
    """

    def __init__(self, find: Callable[[Any], T]) -> None:
        self._find, self.__doc__ = find, find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> T:
        value: T = self._find(instance)
        # Found there from now on, before this descriptor.
        instance.__dict__[self._name] = value
        return value
