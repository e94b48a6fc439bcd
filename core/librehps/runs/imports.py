"""The garbage collector during imports and runs, which make a million objects but no garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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

    A run makes many objects a row; looking each time through the modules and the model for garbage
    takes a quarter of the CPU time of a run outside decode and forward.
    """
    is_frozen_already = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not is_frozen_already:
            gc.unfreeze()
