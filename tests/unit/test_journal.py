"""A journal is held by one process at a time."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from librehps import files
from librehps.errors import UsageError
from librehps.files import write_whole
from librehps.runs.job import Job
from librehps.runs.journal import SEEDING, Journal
from librehps.runs.journal_folder import LOCK_FILE

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


def test_words_of_a_request_do_not_make_a_journal_invalid(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.journal")
    journal.open()
    for request in ({}, {"prompt": SEEDING}, {SEEDING: f'"{SEEDING}": true'}):
        journal.run = {"request": request, "own_columns": {SEEDING: "text"}}
        journal.write_run()
        assert journal.is_frozen
    journal.run[SEEDING] = True
    journal.write_run()
    assert not journal.is_frozen
    journal.close()


def test_an_output_that_another_process_made_meanwhile(tmp_path: Path) -> None:
    output = tmp_path / "x.jsonl"
    for resume in (False, True):
        output.unlink(missing_ok=True)
        job = Job(output, resume=resume)
        output.touch()
        with pytest.raises(UsageError, match="another process has just finished"), job:
            pass
        assert [file.name for file in tmp_path.iterdir()] == [output.name]


def refuse(number: int) -> object:
    """Return a stand-in for a system call that the file system does not support."""

    def call(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(number))
    folder = tmp_path / "x.journal"
    first = Journal(folder)
    first.open()
    assert os.strerror(number) in caplog.text
    here = f"process {os.getpid()} on {socket.gethostname()}"
    with pytest.raises(UsageError, match=f"{here} is writing to") as busy:
        Journal(folder).open()
    assert busy.value.hint == f"If this process has ended, release it: rm {folder}/lock.owner"
    first.close()
    second = Journal(folder)
    second.open()
    second.delete()
    assert not folder.exists()


def test_a_lock_that_a_kill_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "x.journal"
    folder.mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    owner = folder / "lock.owner"
    owner.write_text(f"{socket.gethostname()} {ended.pid}\n")
    for refused in (False, True):
        if refused:
            monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
        with pytest.raises(UsageError, match="ended without releasing it") as busy:
            Journal(folder).open()
        assert busy.value.hint == f"Release it: rm {owner}"
    owner.unlink()
    Journal(folder).open()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_that_cannot_flush_folders(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = os.fsync

    def flush(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(files, "_unsynced", set())
    for name in ("x", "y"):
        write_whole(tmp_path / name, "1")
    assert caplog.text.count("cannot be flushed to the disk") == 1
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        write_whole(tmp_path / "z", "1")
