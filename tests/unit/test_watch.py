"""Watching folders: which files are whole, when a pass begins, and what reports are minded."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from librehps.errors import UsageError
from librehps.items import changes
from librehps.items.changes import Batch, FolderChanges, Relevance, must_poll
from librehps.items.settling import OLD_S, PATIENCE_S, QUIET_S, Settling
from librehps.items.watched import FolderGoneError, lacks_prompt, watched_folders
from librehps.runs.observer import RunObserver
from librehps.runs.summary import RunSummary
from librehps.runs.watch import MAX_PERIOD_S, PASS_S, PERIOD_FACTOR, SWEEP_S, Pace, Watch
from make_media import clip, picture


@dataclass
class Clock:
    """A clock that a test moves; `wall` begins at the time that new files have."""

    passed: float = 0.0

    def now(self) -> float:
        return self.passed

    def settling(self, path: Path, **options) -> Settling:
        start = path.stat().st_ctime
        return Settling(now=self.now, wall=lambda: start + self.passed, **options)


def test_a_file_is_whole_once_two_looks_find_it_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    picture().save(file)
    whole, clock = file.read_bytes(), Clock()
    settling = clock.settling(file)
    file.write_bytes(whole[:100])
    assert not settling.is_whole(str(file))
    clock.passed += QUIET_S
    # It lacks its end, which more writing will bring.
    assert not settling.is_whole(str(file))
    file.write_bytes(whole)
    assert not settling.is_whole(str(file))
    assert settling.waiting == 1
    clock.passed += QUIET_S / 2
    assert list(settling.settled()) == []
    clock.passed += QUIET_S / 2
    assert list(settling.settled()) == [str(file)]
    assert settling.waiting == 0
    assert settling.is_whole(str(file))
    file.write_bytes(whole + b"\0")
    assert not settling.is_whole(str(file))
    file.unlink()
    assert settling.is_whole(str(file))
    assert settling.waiting == 0


def test_a_file_that_stays_cut_is_taken_in_the_end(tmp_path: Path) -> None:
    """The row says what is wrong, as in any run."""
    clock, content = Clock(), {}
    picture().save(tmp_path / "a.png")
    clip(tmp_path / "b.mp4")
    picture().save(tmp_path / "c.jpg")
    picture().save(tmp_path / "d.webp")
    picture().save(tmp_path / "e.gif")
    for file in sorted(tmp_path.iterdir()):
        content[file] = file.read_bytes()
        file.write_bytes(content[file][:-20])
    (empty := tmp_path / "f.png").write_bytes(b"")
    content[empty] = b""
    settling = clock.settling(empty)
    assert not any(settling.is_whole(str(file)) for file in content)
    clock.passed += QUIET_S
    assert not any(settling.is_whole(str(file)) for file in content)
    clock.passed += PATIENCE_S
    assert all(settling.is_whole(str(file)) for file in content)
    for file, data in content.items():
        file.write_bytes(data)
        settling.is_whole(str(file))
    clock.passed += QUIET_S
    assert [f for f in content if not settling.is_whole(str(f))] == [empty]


def test_old_files_and_renamed_ones_need_no_second_look(tmp_path: Path) -> None:
    file, clock = tmp_path / "a.png", Clock()
    file.write_text("x")
    settling = clock.settling(file)
    clock.passed += OLD_S + 1
    assert settling.is_whole(str(file))
    os.utime(file, (2e9, 2e9))
    assert not settling.is_whole(str(file))
    picture().save(new := tmp_path / "new.png")
    os.utime(new, (clock.passed, clock.passed))
    new.rename(file)
    assert settling.is_whole(str(file))
    (tmp_path / "sub").mkdir()
    assert settling.is_whole(str(tmp_path / "sub"))
    assert settling.is_whole(str(tmp_path / "none"))


def test_a_picture_waits_a_while_for_its_prompt(tmp_path: Path) -> None:
    file, clock = tmp_path / "a.png", Clock()
    picture().save(file)
    settling = clock.settling(file, lacks=lacks_prompt)
    assert not settling.is_whole(str(file))
    clock.passed += QUIET_S
    assert not settling.is_whole(str(file))
    (tmp_path / "a.txt").write_text("red")
    assert settling.is_whole(str(file))
    assert not lacks_prompt(str(tmp_path / "b.txt"))


def test_reports_that_matter(tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "log.csv").touch()
    (tmp_path / "out.settings").touch()
    (tmp_path / "sub.d").mkdir()
    relevant = Relevance([root], [f"{root}/out.parquet"], has_sidecars=True)
    minded = ["a.png", "a.txt", "a.json", "sub.d", "gone", "sub.d/B.MP4"]
    ours = ["out.parquet", "out.parquet.journal/rows.json"]
    others = ["a.png.tmp", "a.part", ".hidden/a.png", ".a.png", "log.csv", *ours]
    assert [name for name in minded + others if relevant(f"{root}/{name}")] == minded
    assert not Relevance([root], [], has_sidecars=False)(f"{root}/log.csv")


def test_reports_of_a_real_folder(tmp_path: Path) -> None:
    """Writing, renaming, deleting; then the folder is removed, and comes back."""
    root, stop, notes = tmp_path / "out", threading.Event(), []
    (root / "sub").mkdir(parents=True)
    relevant = Relevance([str(root)], [], has_sidecars=False)
    batches = iter(FolderChanges([str(root)], relevant, stop, notes.append))
    assert next(batches).is_unknown

    def until(path: Path) -> None:
        assert any(str(path) in batch.changed for batch in batches)

    (root / "a.png").write_text("x")
    until(root / "a.png")
    (root / "b.tmp").write_text("x")
    (root / "b.tmp").rename(root / "sub" / "b.png")
    until(root / "sub" / "b.png")
    (root / "a.png").unlink()
    until(root / "a.png")
    root.rename(tmp_path / "away")
    assert next(batch for batch in batches if notes) == Batch()
    assert notes == [f"waiting for {root}: the folder was removed"]
    root.mkdir()
    assert any(batch.is_unknown for batch in batches)
    (root / "c.png").write_text("x")
    until(root / "c.png")
    stop.set()
    assert [batch for batch in batches if batch.changed] == []


def test_a_limit_on_reports_means_polling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    real, stop, notes = watchfiles.watch, threading.Event(), []

    def limited(*roots, force_polling, poll_delay_ms, **options) -> Iterator[set]:
        if not force_polling:
            raise OSError("OS file watch limit reached.")
        return real(*roots, force_polling=True, poll_delay_ms=20, **options)

    monkeypatch.setattr(watchfiles, "watch", limited)
    relevant = Relevance([str(tmp_path)], [], has_sidecars=False)
    batches = iter(FolderChanges([str(tmp_path)], relevant, stop, notes.append))
    assert next(batches).is_unknown
    assert notes == ["OS file watch limit reached.; searching the folders every 2 s instead"]
    (tmp_path / "a.png").write_text("x")
    assert any(str(tmp_path / "a.png") in batch.changed for batch in batches)


def test_without_any_reports_the_folders_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither reports nor polling work where a folder may not be read."""
    import watchfiles

    def denied(*roots, force_polling, **options) -> Iterator[set]:
        if force_polling:
            yield set()
        raise RuntimeError("error: Permission denied")

    monkeypatch.setattr(watchfiles, "watch", denied)
    monkeypatch.setattr(changes, "IDLE_MS", 1)
    notes: list[str] = []
    batches = iter(FolderChanges([str(tmp_path)], lambda _: True, threading.Event(), notes.append))
    unknown = [next(batches).is_unknown for _ in range(2 + changes.LISTING_BATCHES)]
    assert unknown == [True, True, *[False] * (changes.LISTING_BATCHES - 1), True]
    assert [note.split("; ")[1] for note in notes] == [
        "searching the folders every 2 s instead", "searching the folders every 0.04 s instead"
    ]  # fmt: skip


def test_where_the_system_reports_no_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(changes.POLLING_VARIABLE, raising=False)
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(changes, "MOUNTS_FILE", mounts)
    mounts.write_text("x / ext4 rw 0 0\nx /net nfs4 rw 0 0\nx /net/my\\040disk xfs rw 0 0\n"
                      "x /c fuse.fuse-overlayfs rw 0 0\nx /s fuse.sshfs rw 0 0\n")  # fmt: skip
    assert must_poll(["/home", "/net/my disk/x", "/c/x"]) is None
    assert must_poll(["/home", "/net/x"]) == "/net/x is on nfs4"
    assert must_poll(["/s"]) == "/s is on fuse.sshfs"
    monkeypatch.setenv(changes.POLLING_VARIABLE, "1")
    assert must_poll(["/home"]) == "WATCHFILES_FORCE_POLLING is set"
    monkeypatch.setenv(changes.POLLING_VARIABLE, "false")
    assert must_poll(["/net/x"]) is None


@pytest.mark.parametrize(
    "name, problem",
    [
        ("-", "standard input cannot be watched"),
        ("s3://bucket/x", "got a URL"),
        ("a.csv", "got a file"),
        ("a.png", "got a file"),
        ("none", "no such file or folder"),
    ],
)
def test_only_folders_are_watched(name: str, problem: str, tmp_path: Path) -> None:
    for file in ("a.csv", "a.png"):
        (tmp_path / file).touch()
    path = name if name == "-" or "://" in name else str(tmp_path / name)
    with pytest.raises(UsageError, match=problem) as error:
        watched_folders([path])
    assert "--update" in error.value.hint or "mkdir" in error.value.hint


def test_patterns_are_watched_from_their_first_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert watched_folders(["a/*/x*.png"]) == [str(tmp_path / "a")]


class Passes:
    """Passes that take some time of a clock, and say when they began."""

    def __init__(self, clock: Clock, fixed_s: float = 0.0, gone: int = 0) -> None:
        self.clock, self.fixed_s, self.began, self.gone = clock, fixed_s, [], gone

    def __call__(self, observer: RunObserver, stop: threading.Event) -> RunSummary:
        self.began.append(self.clock.passed)
        self.clock.passed += self.fixed_s
        observer.note(f"listing {len(self.began)}")
        if len(self.began) == self.gone:
            raise FolderGoneError("gone")
        return RunSummary(Path("x.parquet"), 1, 1, 0, {})


class Notes(RunObserver):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def watch(clock: Clock, passes: Passes, batches: list[tuple[float, Batch]]) -> Notes:
    """Let the batches come at their times."""

    def timed() -> Iterator[Batch]:
        for at, batch in batches:
            clock.passed = max(clock.passed, at)
            yield batch

    observer = Notes()
    settling = Settling(now=clock.now)
    Watch(passes, settling, observer, threading.Event(), Pace(clock.now)).run(timed(), lambda: None)
    return observer


def test_passes_follow_changes_and_leave_time_between() -> None:
    clock, changed = Clock(), Batch(frozenset(["/none.png"]))
    passes = Passes(clock, fixed_s=1.0)
    batches = [(0.0, Batch(is_unknown=True)), (2.0, Batch()), (3.0, changed), (4.0, changed)]
    batches += [(5.0 + at, Batch()) for at in range(20)]
    observer = watch(clock, passes, batches)
    assert passes.began == [0.0, 3.0, 3.0 + PERIOD_FACTOR]
    assert observer.notes == ["listing 1"]
    pace = Pace(clock.now)
    assert pace.pass_s == PASS_S
    pace.end(began=clock.passed - 150, scoring_s=50.0)
    assert pace.may_begin
    pace.end(began=clock.passed - 150, scoring_s=50.0)
    assert not pace.may_begin
    assert pace.pass_s == PERIOD_FACTOR * 100
    clock.passed += MAX_PERIOD_S - 150
    assert pace.may_begin
    # Where a pass takes longer than that, half of the time is left.
    pace.end(began=clock.passed - 1e4, scoring_s=0.0)
    clock.passed += 1e4 - 1
    assert not pace.may_begin


def test_without_reports_the_folder_is_listed_now_and_then() -> None:
    clock = Clock()
    passes = Passes(clock)
    watch(clock, passes, [(0.0, Batch()), (1.0, Batch()), (SWEEP_S + 1, Batch())])
    assert passes.began == [0.0, SWEEP_S + 1]


def test_a_pass_over_a_removed_folder_is_repeated() -> None:
    clock = Clock()
    passes = Passes(clock, gone=1)
    watch(clock, passes, [(0.0, Batch()), (1.0, Batch()), (2.0, Batch())])
    assert passes.began == [0.0, 1.0]
