"""Outputs that are brought up to date: equal to a fresh run, without a forward of known content."""

import random
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from librehps import LibreHPS, RunSummary, score_to
from librehps.runs import media_stamps
from librehps.runs.observer import RunObserver
from librehps.runs.progress import RunProgress
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
    """Return a model with two pictures per window, so that rows come early."""
    return LibreHPS.from_pretrained("tiny", batch_size=1, workers=1)


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
        # Of a killed window the journal may have no row yet.
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
