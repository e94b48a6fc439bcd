"""The garbage collector during imports and runs, which make a million objects but no garbage."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# New objects of a run after which the collector looks at them; Python's own number is some 1,000.
MIN_NEW_OBJECTS = 200_000


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector, for imports.

    Modules are not garbage: looking for it takes an eighth of the time that `import torch` takes.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _FrozenRuns:
    """The number of runs that are going on, and the collector's state before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count, self._was_frozen, self._threshold = 0, False, gc.get_threshold()

    def begin(self) -> None:
        with self._lock:
            if not self._count:
                self._was_frozen, self._threshold = gc.get_freeze_count() > 0, gc.get_threshold()
                first, *others = self._threshold
                # 0 turns the collector off.
                gc.set_threshold(first and max(first, MIN_NEW_OBJECTS), *others)
            self._count += 1
            gc.freeze()

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                gc.set_threshold(*self._threshold)
                if not self._was_frozen:
                    gc.unfreeze()


_RUNS = _FrozenRuns()


@contextmanager
def loaded_frozen() -> Iterator[None]:
    """Keep the garbage collector away from all objects of the process, for a run.

    A run makes many objects a row, and no garbage that only the collector finds; looking for it
    through the modules, the model and each window takes a third of the CPU time of a run outside
    decode and forward. The end of the last of several runs at once restores the collector.
    """
    _RUNS.begin()
    try:
        yield
    finally:
        _RUNS.end()
