"""Runs of the command line that are killed at the moments of killer.py."""

import json
import subprocess
from pathlib import Path

import forks

KILLER = Path(__file__).with_name("killer.py")


def kill(moments: list[tuple[str, int]], *arguments: object) -> None:
    """Run once for each moment, resumed from the second run on; each run must die at its moment."""
    command = [*forks.python(), KILLER, json.dumps(moments), *map(str, arguments)]
    assert subprocess.run(command, check=False).returncode == 0, "a run was not killed"
