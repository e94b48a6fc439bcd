"""Runs the command line again and again, each time in a process that kills itself at a moment.

    python tests/support/killer.py '[["rows", 3], ["torn", 1], ...]' ARGS...

SIGKILL at the COUNT-th call, from 1, of what the moment names; `torn` writes half a frame first.
Windows, groups and chunks are small, so that a run of few rows has several; windows do not grow,
and each is written at once. Runs after the first have `--resume`, unless a flag such as `--update`
continues a run. Exits with the number of runs that were not killed. Forked from a process that has
everything imported, since importing takes longer than a run.
"""

import json
import os
import signal
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from librehps.engine import window_size
from librehps.engine.engine import LocalEngine
from librehps.runs import finished, frames, gathered, journal, row_store
from librehps.scorer import LibreHPS  # noqa: F401 - as the next one, so that no fork imports it
from librehps.scores.sink import Sink
from librehps.train import loop
from librehps_cli.main import main

LocalEngine.window_size = lambda *_: 2  # type: ignore[method-assign]
gathered.HOLD_S = window_size.QUICK_S = 0.0
row_store.GROUP_ROWS = 8
row_store.CHUNK_ROWS = finished.CHUNK_ROWS = 8

MOMENTS: dict[str, tuple[Any, str, str]] = {
    "freeze": (journal.Journal, "_recover", "before"),
    "rows": (journal.Journal, "append", "after"),
    "torn": (frames.FrameFile, "append", "half"),
    "group": (frames.FrameFile, "clear", "before"),
    "output": (Sink, "write_table", "after"),
    "rewrite": (Sink, "replace", "after"),
    "finished": (journal.Journal, "delete", "before"),
    "saving": (loop, "save_state", "before"),
    "saved": (loop, "save_state", "after"),
    "replacing": (Path, "rename", "after"),
}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, count: int) -> None:
    place, name, when = MOMENTS[moment]
    original: Callable[..., Any] = getattr(place, name)
    calls = 0

    def armed(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and when == "half":
            data = frames.framed(bytes(args[0]), zlib.crc32(args[0]))
            self._file.write(data[: len(args[0]) // 2])
            kill()
        if calls == count and when == "before":
            kill()
        result = original(self, *args)
        if calls == count:
            kill()
        return result

    setattr(place, name, armed)


def killed(moment: str, count: int, arguments: list[str]) -> bool:
    """Return True if a run with these arguments died of SIGKILL."""
    child = os.fork()
    if child == 0:
        arm(moment, count)
        sys.argv = ["librehps", *arguments]
        main()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    moments, *arguments = sys.argv[1:]
    if arguments[0] == "train":
        import accelerate  # noqa: F401 - once for all forks
        import torch._dynamo  # noqa: F401 - as the first step of an optimiser

        if "lora" in arguments:
            import peft  # noqa: F401
    survived = 0
    for at, (moment, count) in enumerate(json.loads(moments)):
        goes_on = {"--retry-errors", "--update"} & set(arguments)
        resume = ["--resume"] if at and not goes_on else []
        survived += not killed(moment, count, [*arguments, *resume])
    sys.exit(survived)
