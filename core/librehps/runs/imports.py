"""The garbage collector during imports and runs, which make a million objects but no garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New objects of a run after which the collector looks at them; Python's own number is some 1,000.
MIN_NEW_OBJECTS = 20_000


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


@contextmanager
def loaded_frozen() -> Iterator[None]:
    """Keep the garbage collector away from all objects of the process, for a run.

    A run makes many objects a row, and no garbage that only the collector finds; looking for it
    through the modules, the model and each window takes a third of the CPU time of a run outside
    decode and forward.
    """
    is_frozen_already, before = gc.get_freeze_count() > 0, gc.get_threshold()
    gc.freeze()
    if before[0]:
        gc.set_threshold(max(before[0], MIN_NEW_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not is_frozen_already:
            gc.unfreeze()
