"""Calls that wait for the network, several at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MAX_CALLS = 16

T = TypeVar("T")
R = TypeVar("R")


def at_once(call: Callable[[T], R], values: Sequence[T]) -> list[R]:
    """Return the results in order; raises the error of the first value whose call fails."""
    if len(values) < 2:
        return list(map(call, values))
    with ThreadPoolExecutor(min(len(values), MAX_CALLS), "librehps-ask") as pool:
        return list(pool.map(call, values))
