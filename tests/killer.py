"""Runs the command line in this process, which kills itself at a named moment.

    python tests/killer.py MOMENT COUNT ARGS...

SIGKILL at the COUNT-th call, from 1, of what the moment names; `torn` writes half of a row first.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from librehps.engine import journal
from librehps.sink.base import Sink

MOMENTS: dict[str, tuple[Any, str, str]] = {
    "freeze": (journal.Journal, "_recover", "before"),
    "row": (journal.Journal, "append", "after"),
    "torn": (journal.Journal, "append", "half"),
    "output": (Sink, "write", "after"),
    "finished": (journal.Journal, "delete", "before"),
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
            self._rows.write(b'[0, "ok", {"id": "ha')
            kill()
        if calls == count and when == "before":
            kill()
        result = original(self, *args)
        if calls == count:
            kill()
        return result

    setattr(place, name, armed)


if __name__ == "__main__":
    moment, count, *arguments = sys.argv[1:]
    arm(moment, int(count))
    sys.argv = ["librehps", *arguments]
    from librehps_cli.main import main

    main()
