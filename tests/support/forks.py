"""Python processes that start at once: forked from one that has the libraries imported.

`python()` stands for `sys.executable`: a command that begins with it is a process of its own, with
its arguments, streams, environment, working folder, signals and exit status; only that the imports,
which take seconds and are the same each time, are behind it. What a library read of the environment
when it was imported (HF_HOME, OMP_NUM_THREADS) is what it was in the tests' process.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SUPPORT = Path(__file__).parent


@cache
def python(**imported: str) -> tuple[str, ...]:
    """The first words of a command, in place of `sys.executable`.

    `imported`: variables of the environment for the imports, where they must not be the tests' own;
    FORKS_IMPORT names further modules.
    """
    folder = tempfile.TemporaryDirectory(prefix="forks")
    socket = str(Path(folder.name, "socket"))
    # It ends once this process no longer holds the other end of its stdin.
    parent = subprocess.Popen(
        [sys.executable, SUPPORT / "fork_server.py", socket],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **imported},
    )  # fmt: skip
    atexit.register(folder.cleanup)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    return sys.executable, "-I", "-S", str(SUPPORT / "fork_client.py"), socket


def librehps(**imported: str) -> tuple[str, ...]:
    """The first words of a command of the command line."""
    return *python(**imported), "-m", "librehps_cli"
