"""Runs that are resumed after their source, their folder or their file system has changed."""

import errno
import fcntl
import json
import os
import shutil
import stat
import tarfile
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import LibreHPS, RunSummary, score_to
from librehps.errors import UsageError
from librehps.runs.compare import compare_pairs
from librehps.runs.observer import RunObserver
from librehps.runs.options import ModelOptions
from librehps.runs.pairs_run import compare_pairs_to
from librehps.runs.progress import RunProgress
from librehps.scores.markers import journal_folder
from librehps.scores.read import read_table
from make_media import picture

TOTAL = 5


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with pictures, manifests of their paths, and a tar of them."""
    folder = tmp_path / "project"
    (folder / "pics").mkdir(parents=True)
    rows = []
    with tarfile.open(folder / "pics.tar", "w") as tar:
        for at in range(TOTAL):
            file = folder / "pics" / f"{at}.png"
            picture(64, 48, seed=at).save(file)
            tar.add(file, file.name)
            rows.append({"image": f"pics/{at}.png", "prompt": f"red {at}", "seed": at})
    cells = [{"image": {"bytes": f.read_bytes(), "path": f.name}} for f in folder.glob("pics/*")]
    pq.write_table(pa.Table.from_pylist(cells), folder / "pics.parquet")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def model() -> LibreHPS:
    """Return a model with one picture per batch, so that a run stops soon."""
    return LibreHPS.from_pretrained("tiny", batch_size=1, workers=1)


class StopAfter(RunObserver):
    """Stops the run after some rows."""

    def __init__(self, rows: int) -> None:
        self.left, self.stop = rows, threading.Event()

    def advanced(self, progress: RunProgress) -> None:
        self.left -= 1
        if not self.left:
            self.stop.set()


def stopping() -> dict[str, Any]:
    """Return the options of a run that stops after two rows."""
    watcher = StopAfter(2)
    return {"observer": watcher, "stop": watcher.stop}


def begin(paths: str, model: LibreHPS, output: str = "x.parquet", **more: Any) -> None:
    """Run until two rows are scored."""
    assert score_to(paths, output, model=model, **stopping(), **more).interrupted


def go_on(paths: str, model: Any, output: str = "x.parquet", **more: Any) -> RunSummary:
    return score_to(paths, output, model=model, resume=True, **more)


def test_a_manifest_that_grew_is_resumed(project: Path, model: LibreHPS) -> None:
    begin("m.jsonl", model)
    with Path("m.jsonl").open("a") as file:
        file.write('{"image": "pics/late.png", "prompt": "x"}\n')
    found = go_on("m.jsonl", model)
    assert (found.total, found.ok) == (TOTAL, TOTAL)
    begin("m.jsonl", model, "y.parquet")
    os.utime("m.jsonl")
    # All was listed when the run began.
    Path("m.jsonl").unlink()
    assert go_on("m.jsonl", model, "y.parquet").ok == TOTAL
    rows = read_table([Path("y.parquet")])[0].to_pylist()
    assert [(row["prompt"], row["seed"]) for row in rows[:TOTAL]] == [
        (f"red {at}", at) for at in range(TOTAL)
    ]


def test_a_tar_that_was_touched_is_refused(project: Path, model: LibreHPS) -> None:
    begin("pics.tar", model, prompt="x")
    os.utime("pics.tar", ns=(1, 1))
    with pytest.raises(UsageError, match=r"pics\.tar has changed since the run started"):
        go_on("pics.tar", model, prompt="x")


@pytest.mark.parametrize("paths", ["pics", "m.jsonl", "pics.tar", "pics.parquet", "pics/*.png"])
def test_a_project_that_was_moved_is_resumed(
    paths: str, project: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = {} if paths == "m.jsonl" else {"prompt": "x"}
    begin(paths, model, **prompt)
    moved = project.rename(project.with_name("moved"))
    monkeypatch.chdir(moved)
    (moved / "deeper").mkdir()
    found = go_on(paths, model, **prompt)
    assert (found.total, found.ok, found.kept > 0) == (TOTAL, TOTAL, True)
    assert go_on(paths, model, **prompt).was_complete
    monkeypatch.chdir(moved.rename(moved.with_name("again")))
    assert go_on(paths, model, **prompt).was_complete


def test_another_folder_with_the_same_names_is_refused(
    project: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("pics", model, prompt="x")
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    monkeypatch.chdir(copy)
    with pytest.raises(UsageError, match=f"started in {project}, where pics still is") as refused:
        go_on("pics", model, prompt="x")
    assert f"cd {project}" in (refused.value.hint or "")
    shutil.rmtree(project)
    (copy / "pics").rename(copy / "elsewhere")
    with pytest.raises(UsageError, match=r"pics/0\.png not found in"):
        go_on("pics", model, prompt="x")
    (copy / "elsewhere").rename(copy / "pics")
    assert go_on("pics", model, prompt="x").ok == TOTAL


def test_a_kill_while_a_journal_is_deleted(
    project: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[Path] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def watched(*args: Any, **kwargs: Any) -> None:
            if Path("out/x.parquet").exists():
                moments.append(project / f"killed{len(moments)}")
                shutil.copytree("out", moments[-1])
            real(*args, **kwargs)

        monkeypatch.setattr(os, name, watched)

    Path("out").mkdir()
    for name in ("unlink", "rmdir"):
        watch(name)
    score_to("pics", "out/x.parquet", prompt="x", model=model)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert len(moments) > 5
    assert any(journal_folder(folder / "x.parquet").exists() for folder in moments[1:])
    for file in Path("pics").iterdir():
        file.write_bytes(b"scored again")
    for folder in moments:
        output = folder / "x.parquet"
        found = go_on("pics", model, str(output), prompt="x")
        assert (found.ok, found.kept) == (TOTAL, TOTAL)
        assert read_table([output])[0].num_rows == TOTAL
        assert not journal_folder(output).exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_interrupted_comparison_of_pairs(suffix: str, project: Path, model: LibreHPS) -> None:
    files = [Path(f"pics/{at}.png") for at in range(TOTAL)]
    files[4].write_bytes(b"")
    stored = [file.read_bytes() if suffix == ".parquet" else file.name for file in files]
    pairs = [
        {"prompt": "red", "media_a": one, "media_b": other, "who": at}
        for at, (one, other) in enumerate(pairwise(stored))
    ]
    file, output = Path(f"pics/pairs{suffix}"), Path("v.jsonl")
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(pairs), file)
    else:
        file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    whole = compare_pairs(file, model=model)
    first, none = compare_pairs_to(file, output, model=model, **stopping())
    assert first.interrupted and none is None and not output.exists()
    with pytest.raises(UsageError, match="an unfinished run"):
        compare_pairs_to(file, output, model=model)
    summary, found = compare_pairs_to(file, output, model=model, resume=True)
    assert summary.kept > 0 and found is not None
    assert found.records == whole.records
    assert [row["who"] for row in read_table([output])[0].to_pylist()] == [0, 1, 2, 3]
    done, none = compare_pairs_to(file, output, model=model, resume=True)
    assert (done.was_complete, done.ok, done.failed, none) == (True, 3, 1, None)
    compare_pairs_to(file, output, model=model, overwrite=True, **stopping())
    os.utime(file, ns=(1, 1))
    with pytest.raises(UsageError, match="has changed since the run started"):
        compare_pairs_to(file, output, model=model, resume=True)


def test_nothing_is_loaded_for_a_complete_output(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_to("pics", "x.jsonl", prompt="x", model="tiny")
    with monkeypatch.context() as patched:
        patched.setattr(LibreHPS, "from_pretrained", None)
        assert go_on("pics", "tiny", "x.jsonl", prompt="x").was_complete
        with pytest.raises(UsageError, match="num_frames 4, now 2"):
            go_on("pics", ModelOptions("tiny", num_frames=2), "x.jsonl", prompt="x")


def test_a_run_on_a_file_system_of_few_features(
    project: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real = os.fsync

    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def no_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setattr(os, "fsync", no_folders)
    begin("pics", model, prompt="x")
    assert go_on("pics", model, prompt="x").ok == TOTAL
    assert "this file system has no locks" in caplog.text
    assert not journal_folder(Path("x.parquet")).exists()
