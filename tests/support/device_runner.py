"""Runs the command line with `--device cpu,cpu`, whose processes are forked and armed.

    python tests/support/device_runner.py PYTHON FOLDER MOMENTS SIGNAL COUNT ARGS...

PYTHON is `forks.python()` as JSON; FOLDER and MOMENTS are those of device_killer.py. SIGNAL comes
once the COUNT-th row is journalled; COUNT is 0 for none.
"""

import json
import signal
import sys
from pathlib import Path

import interrupter
from librehps.engine.devices import child
from librehps_cli.main import main

KILLER = Path(__file__).with_name("device_killer.py")

if __name__ == "__main__":
    python, folder, moments, number, count, *arguments = sys.argv[1:]
    child.PYTHON = (*json.loads(python), str(KILLER), folder, moments)
    interrupter.arm(signal.Signals[number], int(count))
    sys.argv = ["librehps", *arguments]
    main()
