"""Output files: refused before the work, then whole on the disk or absent."""

import os
from pathlib import Path

import pytest

from librehps.errors import OutputError, UsageError
from librehps.files import check_file, check_free, growing, partial_of, write_whole, writing


def test_a_file_appears_whole(tmp_path: Path) -> None:
    output = tmp_path / "x.txt"
    with growing(output) as partial:
        partial.write_text("half")
        assert not output.exists()
        partial.write_text("whole 猫")
    write_whole(tmp_path / "y.txt", "whole 猫")
    for file in (output, tmp_path / "y.txt"):
        assert file.read_text(encoding="utf-8") == "whole 猫"
    assert {p.name for p in tmp_path.iterdir()} == {"x.txt", "y.txt"}


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_after_an_error(tmp_path: Path, stop: BaseException) -> None:
    output = tmp_path / "x.txt"
    output.write_text("before")
    with pytest.raises(type(stop)), growing(output) as partial:
        partial.write_text("half")
        raise stop
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.txt", "before")]


def test_the_disk_has_the_file_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = os.fsync

    def watched(handle: int) -> None:
        seen.append(sorted(p.name for p in tmp_path.iterdir()))
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(tmp_path / "x", b"1")
    # The file is synced under the name it grows under, the folder once the name is the output's.
    assert seen == [["x.partial"], ["x"]]


def test_an_error_says_the_reason_and_what_stays(tmp_path: Path) -> None:
    output = tmp_path / "x.txt"
    with pytest.raises(OutputError, match=r"x\.txt cannot be written: Is a directory") as raised:
        partial_of(output).mkdir()
        with writing(output):
            partial_of(output).write_text("")
    assert raised.value.hint is None
    output.write_text("before")
    with pytest.raises(OutputError, match="No space left") as raised, writing(output):
        Path("/dev/full").write_text("x")
    assert raised.value.hint == f"{output} is unchanged."
    with pytest.raises(OutputError) as raised, writing(output, "rows are in y", (ValueError,)):
        raise ValueError("odd")
    assert raised.value.hint == "rows are in y"
    with pytest.raises(KeyError), writing(output):
        raise KeyError


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    check_file(tmp_path / "x.any")
    check_file(tmp_path / "x.TXT", (".txt",))
    with pytest.raises(UsageError, match=r"x\.csv: unsupported output format .*: use \.txt"):
        check_file(tmp_path / "x.csv", (".txt",), "use .txt")
    with pytest.raises(UsageError, match="is a folder"):
        check_file(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        check_file(tmp_path / "no" / "x.txt")
    check_free(tmp_path / "x.txt", overwrite=False)
    (tmp_path / "x.txt").touch()
    check_free(tmp_path / "x.txt", overwrite=True)
    with pytest.raises(UsageError, match="exists"):
        check_free(tmp_path / "x.txt", overwrite=False)
