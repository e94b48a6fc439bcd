"""Outputs that are brought up to date: equal to a fresh run, without a forward of known content."""

import json
import os
import random
import shutil
import tarfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL.PngImagePlugin import PngInfo

from conftest import Cli
from librehps import Item, LibreHPS, RunSummary, read_scores, score_to
from librehps.engine.decode import Decoder
from librehps.engine.engine import LocalEngine
from librehps.errors import UsageError
from librehps.files import partial_of
from librehps.media.media import Media
from librehps.runs import media_stamps
from librehps.runs.journal import Journal
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
from librehps.runs.update_job import UpdateJob
from librehps.scores.markers import journal_folder
from librehps.scores.read import read_table
from make_media import picture

PICTURES = 14
PROMPTS = ("a cat", "a red dog")
MEANS = ("overall", "alignment", "coherence", "style", "temporal")
MUS = tuple(f"{axis}_mu" for axis in MEANS)


class Killed(BaseException):
    """An error that ends a run like a kill: the journal stays as it is."""


class Forwards(RunObserver):
    """Counts the forwards of a run; ends the run after the row number `kill_at`."""

    def __init__(self, kill_at: int = 0) -> None:
        self.count, self.rows, self.notes, self._kill_at = 0, 0, list[str](), kill_at

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advanced(self, progress: RunProgress) -> None:
        self.count, self.rows = progress.work.forwards, self.rows + 1
        if self.rows == self._kill_at:
            raise Killed


@pytest.fixture(scope="module")
def model() -> LibreHPS:
    return LibreHPS.from_pretrained("tiny", workers=1)


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows hold two items, so that a run can be ended between two windows."""
    monkeypatch.setattr(LocalEngine, "window_size", lambda *_: 2)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the contents that histories choose from; the last is no picture."""
    folder = tmp_path_factory.mktemp("pool")
    for at in range(PICTURES):
        picture(32, 32, seed=at).save(folder / f"{at:02}.png")
    return [*(file.read_bytes() for file in sorted(folder.iterdir())), b"no picture"]


@pytest.fixture
def stamps_of_fresh_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stamps of files that have just been written count."""
    monkeypatch.setattr(media_stamps, "FRESH_NS", 0)


def rows_of(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table([output])[0].to_pylist()
    return rows


def assert_same(rows: list[dict], expected: list[dict]) -> None:
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in other.items():
            bound = 1e-4 if name in MEANS else 2e-3 if name in MUS else None
            is_number = bound is not None and value is not None
            assert row[name] == (pytest.approx(value, abs=bound) if is_number else value), name


@dataclass
class History:
    """A folder that changes at random, and what an output of it should be."""

    folder: Path
    pool: list[bytes]
    random: random.Random
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    made: int = 0

    def change(self) -> None:
        """Do some of: add, copy, change, prompt, move, delete, move a folder."""
        for _ in range(self.random.randint(0, 6)):
            ways = [self._add, self._add]
            if self.files:
                ways += [self._copy, self._edit, self._prompt, self._move, self._delete]
                ways += [self._move_folder]
            self.random.choice(ways)()

    def new_scores(self, rows: list[dict]) -> int:
        """Return the number of contents and prompts that the rows of an output do not tell."""
        hashes = [sha256(data).hexdigest() for data in self.pool[:-1]]
        now = {(hashes[at], text) for at, text in self.files.values() if at < len(hashes)}
        return len(now - {(row["sha256"], row["prompt"]) for row in rows})

    def _write(self, name: str, content: int, prompt: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.pool[content])
        file.with_suffix(".txt").write_text(prompt)
        self.files[name] = content, prompt

    def _name(self) -> str:
        self.made += 1
        folder = self.random.choice(["", "a/", "b/", "b/c/"])
        return f"{folder}{self.random.randint(0, 999):03}-{self.made}.png"

    def _add(self) -> None:
        self._write(self._name(), self._content(), self.random.choice(PROMPTS))

    def _content(self) -> int:
        return self.random.randrange(len(self.pool))

    def _some(self) -> str:
        return self.random.choice(sorted(self.files))

    def _copy(self) -> None:
        self._write(self._name(), *self.files[self._some()])

    def _edit(self) -> None:
        name = self._some()
        self._write(name, self._content(), self.files[name][1])

    def _prompt(self) -> None:
        name = self._some()
        self._write(name, self.files[name][0], self.random.choice(PROMPTS))

    def _move(self) -> None:
        self._rename(self._some(), self._name())

    def _rename(self, old: str, new: str) -> None:
        for suffix in (".png", ".txt"):
            target = (self.folder / new).with_suffix(suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.folder / old).with_suffix(suffix).rename(target)
        self.files[new] = self.files.pop(old)

    def _move_folder(self) -> None:
        self.made += 1
        for name in sorted(self.files):
            if name.startswith("a/"):
                self._rename(name, f"d{self.made}/{name}")

    def _delete(self) -> None:
        name = self._some()
        (self.folder / name).unlink()
        (self.folder / name).with_suffix(".txt").unlink()
        del self.files[name]


@pytest.mark.parametrize("seed", range(20))
def test_equals_a_fresh_run_after_any_history(
    seed: int, tmp_path: Path, pool: list[bytes], model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    prune, kills = chance.random() < 0.5, seed % 4 == 3
    if seed % 3:
        monkeypatch.setattr(media_stamps, "FRESH_NS", 0)
    suffix = (".parquet", ".jsonl")[seed % 2]
    out, media = tmp_path / f"x{suffix}", tmp_path / "media"
    media.mkdir()
    history = History(media, pool, chance)
    history._add()
    common: dict[str, Any] = {"prompt_from": "sidecar", "model": model}
    old: list[dict] = []
    for _ in range(3):
        history.change()
        if not history.files:
            history._add()
        expected = history.new_scores(old)
        seen = Forwards()
        if kills and expected:
            seen = Forwards(kill_at=chance.randint(1, expected))
            with pytest.raises(Killed):
                score_to(media, out, update=True, prune=prune, observer=seen, **common)
            assert (rows_of(out) if out.exists() else []) == old
        again = Forwards()
        summary = score_to(media, out, update=True, prune=prune, observer=again, **common)
        assert not journal_folder(out).exists()
        # Of a window that ended early the journal may have no row yet.
        assert expected <= seen.count + again.count <= expected + 2 * kills
        old = check(rows_of(out), old, summary, prune, history)
    fresh = tmp_path / f"fresh{suffix}"
    score_to(media, fresh, columns="full", **common)
    live = old[: summary.total]
    full = [{name: row[name] for name in live[0] if name != "vanished"} for row in rows_of(fresh)]
    assert_same([{n: v for n, v in row.items() if n != "vanished"} for row in live], full)


def check(
    rows: list[dict], old: list[dict], summary: RunSummary, prune: bool, history: History
) -> list[dict]:
    """Compare rows with those before: kept scores bit for bit, vanished ones in their order."""
    assert summary.changes is not None
    new, changed, moved, kept, retried, vanished, pruned = summary.changes
    assert new + changed + moved + kept + retried == summary.total == len(history.files)
    live, ends = rows[: summary.total], rows[summary.total :]
    assert {row["id"] for row in live} == history.files.keys()
    assert len(ends) == vanished
    assert vanished == 0 if prune else pruned == 0
    if not prune:
        assert [row["vanished"] for row in rows] == [False] * len(live) + [True] * len(ends)
        ids = [row["id"] for row in old]
        places = [ids.index(row["id"]) for row in ends]
        assert places == sorted(places)
        contents = {(row["sha256"], row["prompt"]) for row in rows}
        assert all((r["sha256"], r["prompt"]) in contents or r["id"] in history.files for r in old)
    before = {(row["sha256"], row["prompt"]): row for row in old if row["status"] == "ok"}
    for row in rows:
        if row["status"] == "ok" and (known := before.get((row["sha256"], row["prompt"]))):
            assert [row[name] for name in MEANS + MUS] == [known[name] for name in MEANS + MUS]
    return rows


@pytest.fixture
def project(tmp_path: Path, pool: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with four pictures, as files, in a tar, in Parquet, in a manifest."""
    (tmp_path / "pics").mkdir()
    cells, rows = [], []
    with tarfile.open(tmp_path / "pics.tar", "w") as tar:
        for at in range(4):
            file = tmp_path / "pics" / f"{at}.png"
            file.write_bytes(pool[at])
            tar.add(file, file.name)
            cells.append({"image": {"bytes": pool[at], "path": file.name}, "prompt": f"cat {at}"})
            rows.append({"image": f"pics/{at}.png", "prompt": f"cat {at}", "seed": at})
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "pics.parquet")
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def update(
    paths: str | Path, out: str | Path, model: LibreHPS, **options: Any
) -> tuple[Any, Forwards]:
    """Return the summary of an update, and the observer that counted its forwards."""
    if not {"prompt", "prompt_from"} & options.keys() and str(paths) != "m.jsonl":
        options["prompt"] = "a cat"
    seen = Forwards()
    return score_to(paths, out, update=True, model=model, observer=seen, **options), seen


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the media that are hashed from now on."""
    names: list[str] = []
    original = Media.sha256

    def sha256_of(self: Media) -> str | None:
        names.append(self.name)
        return original(self)

    monkeypatch.setattr(Media, "sha256", sha256_of)
    return names


@pytest.mark.usefixtures("stamps_of_fresh_files")
@pytest.mark.parametrize("source", ["pics", "m.jsonl", "pics.tar", "pics.parquet"])
def test_unchanged_media_are_not_read(
    source: str, project: Path, model: LibreHPS, reads: list[str]
) -> None:
    _, seen = update(source, "x.parquet", model)
    assert seen.count == 4
    before = rows_of(Path("x.parquet"))
    reads.clear()
    summary, seen = update(source, "x.parquet", model)
    assert (seen.count, summary.changes.kept) == (0, 4)
    # Pictures in Parquet have paths, so that their bytes might be in a file of that path.
    assert bool(reads) == (source == "pics.parquet")
    assert rows_of(Path("x.parquet")) == before
    assert summary.kept == (0 if source == "pics.parquet" else 4)
    # The same bytes under another stamp are read, and cost no forward.
    for name in ("pics/0.png", source):
        os.utime(name)
    _, seen = update(source, "x.parquet", model)
    assert seen.count == 0
    assert reads
    assert rows_of(Path("x.parquet")) == before


def test_a_file_that_has_just_changed_is_read_again(
    project: Path, model: LibreHPS, reads: list[str], pool: list[bytes]
) -> None:
    update("pics", "x.parquet", model)
    reads.clear()
    update("pics", "x.parquet", model)
    assert len(set(reads)) == 4


@pytest.mark.usefixtures("stamps_of_fresh_files")
def test_the_size_and_the_time_of_change_alone_prove_nothing(
    project: Path, model: LibreHPS, pool: list[bytes]
) -> None:
    file = Path("pics/0.png")
    one, other = (data.ljust(4096, b"\0") for data in pool[5:7])
    file.write_bytes(one)
    update("pics", "x.parquet", model)
    found = file.stat()
    file.write_bytes(other)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    summary, seen = update("pics", "x.parquet", model)
    assert (seen.count, summary.changes.changed) == (1, 1)


@pytest.mark.usefixtures("stamps_of_fresh_files")
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "version"])
def test_damaged_stamps_are_not_believed(
    damage: str,
    project: Path,
    model: LibreHPS,
    reads: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    update("pics", "x.jsonl", model)
    stamps = Path(".x.jsonl.stamps")
    data = bytearray(stamps.read_bytes())
    if damage == "flip":
        data[-40] ^= 1
    if damage == "version":
        data[16:17] = b"9"
    stamps.write_bytes({"cut": data[:-49], "empty": b""}.get(damage, data))
    reads.clear()
    _, seen = update("pics", "x.jsonl", model)
    assert seen.count == 0
    assert len(set(reads)) == 4
    assert "all media are read again" in caplog.text
    reads.clear()
    update("pics", "x.jsonl", model)
    assert not reads


@pytest.mark.usefixtures("stamps_of_fresh_files")
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_files_that_cannot_be_scored_are_not_read_again(
    suffix: str,
    project: Path,
    model: LibreHPS,
    pool: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = list[str]()
    out, options = f"x.{suffix}", {"prompt_from": "sidecar"}
    contents = {"broken": pool[0][:40], "empty": b"", "odd": b"text", "bare": pool[1]}
    for name, content in contents.items():
        Path(f"pics/{name}.png").write_bytes(content)
    for at in range(4):
        Path(f"pics/{at}.txt").write_text("a cat")
    for name in ("broken", "empty", "odd"):
        Path(f"pics/{name}.txt").write_text("a cat")

    def decode(decoder: Decoder, item: Item, content: Media | None = None) -> Any:
        opened.append(item.id)
        return real(decoder, item, content)

    real = Decoder.decode
    monkeypatch.setattr(Decoder, "decode", decode)
    update("pics", out, model, **options)
    rows = {row["id"]: row for row in rows_of(Path(out))}
    assert [rows[f"{name}.png"]["error_type"] for name in contents] == [
        "BrokenMediaError", "EmptyFileError", "UnsupportedMediaError", "PromptError",
    ]  # fmt: skip
    before, _ = Path(out).read_bytes(), opened.clear()
    summary, _ = update("pics", out, model, **options)
    # The prompt that was not there may have come.
    assert (opened, summary.changes) == ([], (0, 0, 0, 7, 1, 0, 0))
    assert (summary.failed, summary.errors["BrokenMediaError"]) == (4, 1)
    assert Path(out).read_bytes() == before
    # Another prompt, and a changed file.
    Path("pics/broken.txt").write_text("a dog")
    Path("pics/odd.png").write_bytes(pool[2])
    update("pics", out, model, **options)
    assert sorted(opened) == ["broken.png", "odd.png"]
    opened.clear()
    # Another version of Pillow may read it; a lack of memory may pass.
    for name, value in (("_readers", lambda: "11" * 32), ("PASSING", "is damaged")):
        with monkeypatch.context() as other:
            other.setattr(media_stamps, name, value)
            update("pics", out, model, **options)
        assert "broken.png" in opened
        opened.clear()
        update("pics", out, model, **options)
        opened.clear()
    monkeypatch.setattr(UpdateJob, "origin_settings", lambda _: {"version": "0.0.1"})
    update("pics", out, model, **options)
    assert sorted(opened) == ["broken.png", "empty.png"]


@pytest.mark.usefixtures("stamps_of_fresh_files")
def test_own_columns_and_prompts_are_those_of_the_source_now(
    project: Path, model: LibreHPS
) -> None:
    update("m.jsonl", "x.jsonl", model)
    rows = [json.loads(line) for line in Path("m.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"seed": row["seed"] + 0.5, "group": "g", "new": "é"}
    rows[1]["prompt"] = "another cat"
    Path("m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    summary, seen = update("m.jsonl", "x.jsonl", model, prune=True)
    assert (seen.count, summary.changes) == (1, (0, 1, 0, 3, 0, 0, 0))
    score_to("m.jsonl", "fresh.jsonl", model=model, columns="full")
    fresh = rows_of(Path("fresh.jsonl"))
    found = rows_of(Path("x.jsonl"))
    assert_same(found, [{name: row[name] for name in found[0]} for row in fresh])
    # Vanished rows keep what fits into the columns of today, or the update says what does not.
    Path("m.jsonl").write_text("".join(json.dumps({**row, "new": 3}) + "\n" for row in rows[:2]))
    before = Path("x.jsonl").read_bytes()
    with pytest.raises(UsageError, match=r"cannot update x.jsonl: column 'new' of vanished"):
        update("m.jsonl", "x.jsonl", model)
    assert Path("x.jsonl").read_bytes() == before
    assert not partial_of(Path("x.jsonl")).exists()
    summary, _ = update("m.jsonl", "x.jsonl", model, prune=True)
    assert summary.changes.pruned == 2


@pytest.mark.usefixtures("stamps_of_fresh_files")
def test_prompts_in_metadata_are_read_again_but_not_the_pixels(
    project: Path, model: LibreHPS, reads: list[str]
) -> None:
    for at in range(4):
        info = PngInfo()
        info.add_text("parameters", f"red cat {at}\nSteps: 20, Seed: 1")
        picture(32, 32, seed=at).save(f"pics/{at}.png", pnginfo=info)
    update("pics", "x.parquet", model, prompt_from="auto")
    reads.clear()
    # A sidecar comes before the metadata.
    Path("pics/2.txt").write_text("a blue dog")
    summary, seen = update("pics", "x.parquet", model, prompt_from="auto")
    assert (seen.count, summary.changes.changed, len(set(reads))) == (1, 1, 1)
    prompts = [row["prompt"] for row in rows_of(Path("x.parquet"))]
    assert prompts == ["red cat 0", "red cat 1", "a blue dog", "red cat 3"]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_outputs_of_plain_runs(suffix: str, project: Path, model: LibreHPS) -> None:
    out = f"x.{suffix}"
    score_to("pics", out, prompt="a cat", model=model, columns="full")
    before = rows_of(Path(out))
    # Columns that the output has are kept, also where they are not asked for again.
    for columns in ("default", "full"):
        summary, seen = update("pics", out, model, columns=columns)
        assert (seen.count, summary.changes.kept) == (0, 4)
    assert [{**row, "vanished": False} for row in before] == rows_of(Path(out))
    score_to("pics", out, prompt="a cat", model=model, overwrite=True)
    Path("pics/3.png").unlink()
    summary, seen = update("pics", out, model)
    assert (seen.count, summary.changes) == (3, (0, 0, 0, 0, 3, 1, 0))
    assert f"{out} has no hashes of its media: all are scored again, this once" in seen.notes
    rows = rows_of(Path(out))
    assert [(row["id"], row["sha256"] is None) for row in rows] == [
        *((f"{at}.png", False) for at in range(3)), ("3.png", True)]  # fmt: skip
    with pytest.raises(UsageError, match=rf"cannot update {out}: columns not found: overall_sigma"):
        update("pics", out, model, columns="full")
    # Chosen columns are written with those that the next update needs.
    times = []
    for _ in range(2):
        times.append(Path(out).stat().st_mtime_ns)
        assert update("pics", out, model, columns=["overall"])[1].count == 0
        assert list(rows_of(Path(out))[0])[:2] == ["overall", "id"]
    # The first of them changes the columns, the second nothing.
    assert times[0] < times[1] == Path(out).stat().st_mtime_ns


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_decisions_leave_out_vanished_items(suffix: str, project: Path, cli: Cli) -> None:
    out, args = f"x.{suffix}", ["pics", "-m", "tiny", "-p", "a cat", "--update", "-q"]
    assert cli("score", *args, "-o", out).returncode == 0
    best = cli("best-of-n", out, "--per", "prompt").stdout.strip()
    Path(best).unlink()
    assert cli("score", *args, "-o", out).returncode == 0
    found = cli("best-of-n", out, "--per", "prompt")
    assert Path(found.stdout.strip()).exists()
    assert f"{out}: 1 row of a vanished item is left out" in found.stderr
    assert best not in cli("filter", out, "--top", "100%").stdout.splitlines()
    scores = read_scores(out)
    assert (len(scores), "vanished" in scores.columns) == (3, False)


def test_an_update_goes_on_with_a_killed_plain_run(project: Path, model: LibreHPS) -> None:
    with pytest.raises(Killed):
        score_to("pics", "x.parquet", prompt="a cat", model=model, observer=Forwards(kill_at=1))
    summary, seen = update("pics", "x.parquet", model, columns="full")
    assert (seen.count, summary.changes.new) == (2, 4)
    assert None not in {row["overall_sigma"] for row in rows_of(Path("x.parquet"))}


def test_kept_rows_of_other_settings_are_not_believed(
    project: Path, model: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        score_to("pics", "x.parquet", prompt="a cat", model=model, observer=Forwards(kill_at=2))

    def freeze(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        # Killed again, while the items are listed.
        patched.setattr(Journal, "freeze", freeze)
        update("pics", "x.parquet", model)
    assert [file.name for file in journal_folder(Path("x.parquet")).glob("*.parquet")] == [
        "known-0000.parquet"
    ]
    other = LibreHPS.from_pretrained("tiny", workers=1, dtype="bfloat16")
    summary, seen = update("pics", "x.parquet", other)
    assert (seen.count, summary.changes.new) == (4, 4)


def test_other_settings_and_options_are_refused(project: Path, cli: Cli) -> None:
    common = ("score", "pics", "--update", "-o", "x.parquet", "-m", "tiny")
    done = cli(*common, "-p", "a cat")
    assert done.returncode == 0, done.stderr
    assert "x.parquet: 4 new, 0 changed, 0 kept" in done.stderr
    before = Path("x.parquet").read_bytes()
    refused = {
        ("-p", "a cat", "--dtype", "bfloat16"): "cannot update x.parquet: started with dtype",
        ("-p", "a cat", "--num-frames", "3"): ", now 3",
        ("-p", "a dog"): "prompt 'a cat', now 'a dog'",
        ("-p", "a cat", "--resume"): "--update and --resume cannot be used together",
        ("-p", "a cat", "--overwrite"): "Use --update alone",
        ("-p", "a cat", "--engine", "ray"): "--update: unsupported with Ray",
    }
    for options, message in refused.items():
        done = cli(*common, *options)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    done = cli("score", "pics", "-p", "a cat", "-m", "tiny", "--update")
    assert (done.returncode, "need an output file" in done.stderr) == (2, True)
    done = cli("score", "pics", "-p", "a cat", "-m", "tiny", "--prune", "-o", "y.parquet")
    assert (done.returncode, "--prune needs --update" in done.stderr) == (2, True)
    assert Path("x.parquet").read_bytes() == before
    assert not Path("y.parquet").exists()
    Path("pics/0.png").write_bytes(b"broken")
    Path("pics/1.png").unlink()
    done = cli(*common, "-p", "a cat", "--prune", "--json")
    assert (done.returncode, json.loads(done.stdout)["changes"]["pruned"]) == (3, 1)
    assert "x.parquet: 0 new, 1 changed, 2 kept, 1 pruned" in done.stderr


@pytest.mark.usefixtures("stamps_of_fresh_files")
def test_a_moved_tree_costs_no_forward(project: Path, model: LibreHPS) -> None:
    update(project / "pics", "x.parquet", model)
    shutil.move("pics", "elsewhere")
    Path("pics").mkdir()
    shutil.move("elsewhere", "pics/deep")
    summary, seen = update(project / "pics", "x.parquet", model, columns="default", cache="kept")
    assert (seen.count, summary.changes) == (0, (0, 0, 4, 0, 0, 0, 0))
    assert [row["media"] for row in rows_of(Path("x.parquet"))] == [
        str(project / f"pics/deep/{at}.png") for at in range(4)
    ]


def test_pipes_and_devices_are_errors_each_time(project: Path, model: LibreHPS) -> None:
    os.mkfifo("pics/pipe.mp4")
    Path("pics/zero.mp4").symlink_to("/dev/zero")
    for _ in range(2):
        # From the second run on, media are hashed before they are decoded.
        summary, _ = update("pics", "x.parquet", model)
        assert summary.errors == {"UnsupportedMediaError": 2}
    assert summary.changes.retried == 2
