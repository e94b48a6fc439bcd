"""A journal is held by one process at a time."""

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from librehps.errors import UsageError
from librehps.runs.journal import LOCK_FILE, Journal

OPEN = """
import sys
from pathlib import Path
from librehps.errors import UsageError
from librehps.runs.journal import Journal
try:
    Journal(Path(sys.argv[1])).open()
except UsageError as error:
    sys.exit(str(error))
"""


def opened_elsewhere(folder: Path) -> str:
    """Return the error of another process that opens the journal; empty without an error."""
    command = [sys.executable, "-c", OPEN, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "x.journal"
    first = Journal(folder)
    first.open()
    with pytest.raises(UsageError, match="another process"):
        Journal(folder).open()
    assert opened_elsewhere(folder) == f"another process is writing to {folder}"
    assert (folder / LOCK_FILE).exists()
    # The thread that closes a journal need not be the one that opened it.
    closer = Thread(target=first.close)
    closer.start()
    closer.join()
    assert opened_elsewhere(folder) == ""


def test_a_deleted_journal_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "x.journal"
    first = Journal(folder)
    first.open()
    first.delete()
    assert not folder.exists()
    again = Journal(folder)
    again.open()
    again.close()
