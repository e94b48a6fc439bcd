"""The process of a device, in which something happens at the moments that are named.

    python tests/support/device_killer.py FOLDER MOMENTS -m MODULE

Of MOMENTS, joined by commas: `batch` and `answer` kill the process before its first batch and after
the first answer, once in the life of FOLDER; `wide` kills it with each batch that has a picture
twice as wide as high, `every` with each batch; `loading` kills it while it loads; `other` chooses
another attention, once; `warn` warns; `full` has memory for batches of two. FOLDER keeps the pid of
every process, as a file's name.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from librehps.engine.devices import process

FOLDER, MOMENTS = Path(sys.argv[1]), sys.argv[2].split(",")


def once(name: str) -> bool:
    """Return True if the moment is named, and this process is the first to ask."""
    if name not in MOMENTS:
        return False
    try:
        (FOLDER / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_wide(layout: dict[str, Any]) -> bool:
    *_, height, width = layout["pixels"][1]
    return bool(width >= 2 * height)


def arm() -> None:
    answer, load = process.DeviceProcess._answer, process.DeviceProcess.load
    facts_of, forward = process.facts_of, process.forward_or_full

    def deadly_answer(self: process.DeviceProcess, message: Any) -> None:
        wide = "wide" in MOMENTS and any(map(is_wide, message["batch"]))
        if wide or "every" in MOMENTS or once("batch"):
            kill()
        answer(self, message)
        if once("answer"):
            kill()

    def deadly_load(self: process.DeviceProcess, asked: Any) -> None:
        if "loading" in MOMENTS:
            kill()
        if "warn" in MOMENTS:
            logging.getLogger("librehps").warning("each process says this")
        load(self, asked)

    def other_facts(loaded: Any) -> Any:
        facts = facts_of(loaded)
        if once("other"):
            facts["choices"]["attention"] = "eager"
        return facts

    def forward_or_full(model: Any, batch: Any, launching: Any) -> Any:
        is_full = "full" in MOMENTS and len(batch) > 2
        return None if is_full else forward(model, batch, launching)

    process.forward_or_full = forward_or_full
    process.DeviceProcess._answer = deadly_answer  # type: ignore[method-assign]
    process.DeviceProcess.load = deadly_load  # type: ignore[method-assign]
    process.facts_of = other_facts


if __name__ == "__main__":
    (FOLDER / str(os.getpid())).touch()
    arm()
    process.main()
