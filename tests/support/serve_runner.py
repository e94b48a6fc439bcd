"""Runs the command line; the processes of its devices are forked.

    python tests/support/serve_runner.py PYTHON ARGS...

PYTHON is `forks.python()` as JSON.
"""

import json
import sys

from librehps.engine.devices import child
from librehps_cli.main import main

if __name__ == "__main__":
    _, python, *arguments = sys.argv
    child.PYTHON = tuple(json.loads(python))
    sys.argv = ["librehps", *arguments]
    main()
