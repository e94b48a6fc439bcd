"""Processes that the tests started, looked at while others of them end."""

from collections.abc import Iterator
from contextlib import suppress

import psutil


def children(word: str, recursive: bool = False, nice: int = -20) -> Iterator[psutil.Process]:
    """Yield the children of this process whose command has the word, and that are so nice."""
    for child in psutil.Process().children(recursive):
        # One may end between the look at all and that at it.
        with suppress(psutil.NoSuchProcess):
            if any(word in part for part in child.cmdline()) and child.nice() >= nice:
                yield child
