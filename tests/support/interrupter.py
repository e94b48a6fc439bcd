"""Runs the command line in this process, which sends itself a signal at a certain row.

    python tests/support/interrupter.py SIGINT COUNT ARGS...

The signal comes once the COUNT-th row, from 1, is journalled: no other process could time it so.
"""

import signal
import sys
from typing import Any

from librehps.engine import window_size
from librehps.runs import gathered
from librehps.runs.journal import Journal
from librehps_cli.main import main


def arm(number: signal.Signals, count: int) -> None:
    gathered.HOLD_S = window_size.QUICK_S = 0.0
    original, calls = Journal.append, 0

    def armed(self: Journal, *args: Any) -> None:
        nonlocal calls
        original(self, *args)
        calls += 1
        if calls == count:
            signal.raise_signal(number)

    Journal.append = armed  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(signal.Signals[sys.argv[1]], int(sys.argv[2]))
    sys.argv = ["librehps", *sys.argv[3:]]
    main()
