"""`score_to` from Python: fresh, interrupted, resumed, refused, and outputs of version 0.1.0."""

import json
import logging
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from librehps import LibreHPS, RunSummary, score_to
from librehps.errors import DownloadNeededError, UsageError
from librehps.runs.observer import RunObserver
from librehps.runs.options import ModelOptions
from librehps.runs.progress import RunProgress
from librehps.runs.run import score_rows
from librehps.scores.read import read_table
from librehps.settings import FIRST_MEDIA, differing
from make_media import picture

OLD = Path(__file__).parents[1] / "data" / "v0.1.0"
PROMPT = "a red circle"
TOTAL = 9


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Seven pictures, one that is none, and a text file that is skipped."""
    folder = tmp_path / "media"
    folder.mkdir()
    for index in range(TOTAL - 2):
        picture(64, 48, seed=index).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.md").write_text("no media")
    return folder


@pytest.fixture(scope="module")
def model() -> LibreHPS:
    """Return a model with one picture per batch, so that a run stops soon."""
    return LibreHPS.from_pretrained("tiny", batch_size=1, workers=1)


class StopAfter(RunObserver):
    """Stops the run after so many rows; keeps the notes."""

    def __init__(self, rows: int = TOTAL + 1) -> None:
        self.left, self.stop, self.notes = rows, threading.Event(), []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def advanced(self, progress: RunProgress) -> None:
        self.left -= 1
        if not self.left:
            self.stop.set()


def rows_of(output: Path) -> list[dict]:
    return read_table([output])[0].to_pylist()


def counts(summary: RunSummary) -> tuple[int, int, int]:
    return summary.total, summary.ok, summary.failed


def test_a_folder_by_names_alone(media: Path, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO, "librehps"):
        found = score_to(media, tmp_path / "x.parquet", prompt=PROMPT, model="tiny")
    assert counts(found) == (TOTAL, TOTAL - 2, 2)
    assert found.errors == {"UnsupportedMediaError": 1, "EmptyFileError": 1}
    assert (found.skipped, found.kept, found.remaining) == (1, 0, 0)
    assert not (found.interrupted or found.was_complete)
    assert found.output == tmp_path / "x.parquet"
    assert 0 <= found.distributions["overall"].low <= found.distributions["overall"].high <= 1
    rows = rows_of(found.output)
    assert [row["id"] for row in rows] == [f"{n}.png" for n in range(TOTAL - 2)] + [
        "broken.png", "empty.png"]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok"] * (TOTAL - 2) + ["error"] * 2
    assert "skipped 1 file: 1 .md" in caplog.messages


def test_a_library_run_prints_nothing(media: Path, tmp_path: Path, model, capfd) -> None:
    score_to(media, tmp_path / "x.jsonl", prompt=PROMPT, model=model)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_stopped_and_resumed(media: Path, tmp_path: Path, model, suffix: str) -> None:
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"x{suffix}"
    score_to(media, whole, prompt=PROMPT, model=model)
    observer = StopAfter(2)
    first = score_to(
        media, output, prompt=PROMPT, model=model, observer=observer, stop=observer.stop
    )
    assert first.interrupted
    assert 2 <= first.ok + first.failed == first.total - first.remaining < TOTAL
    assert not output.exists()
    with pytest.raises(UsageError, match="an unfinished run of"):
        score_to(media, output, prompt=PROMPT, model=model)
    with pytest.raises(UsageError, match="prompt 'a red circle', now 'y'"):
        score_to(media, output, prompt="y", model=model, resume=True)
    again = StopAfter()
    second = score_to(media, output, prompt=PROMPT, model=model, resume=True, observer=again)
    assert counts(second) == (TOTAL, TOTAL - 2, 2)
    assert second.kept == first.ok + first.failed
    assert sum(second.errors.values()) == 2, "errors of the first call are counted too"
    assert f"{second.kept} of {TOTAL} items were scored before" in again.notes
    assert rows_of(output) == rows_of(whole)
    assert not list(tmp_path.glob("*.journal"))


def test_a_complete_output(media: Path, tmp_path: Path, model) -> None:
    output = tmp_path / "x.parquet"
    first = score_to(media, output, prompt=PROMPT, model=model)
    written = output.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        score_to(media, output, prompt=PROMPT, model=model)
    again = score_to(media, output, prompt=PROMPT, model=model, resume=True)
    assert again.was_complete
    assert (*counts(again), again.errors) == (*counts(first), first.errors)
    assert output.read_bytes() == written
    with pytest.raises(UsageError, match="started with prompt"):
        score_to(media, output, prompt="y", model=model, resume=True)
    other = score_to(media, output, prompt="y", model=model, overwrite=True)
    assert not other.was_complete
    assert {row["prompt"] for row in rows_of(output)} == {"y"}
    with pytest.raises(UsageError, match="--overwrite"):
        score_to(media, output, prompt="y", model=model, overwrite=True, resume=True)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_errors_are_scored_again(media: Path, tmp_path: Path, model, suffix: str) -> None:
    output = tmp_path / f"x{suffix}"
    score_to(media, output, prompt=PROMPT, model=model)
    before = rows_of(output)
    picture(64, 48, seed=50).save(media / "broken.png")
    # A row that is ok is not scored again.
    (media / "0.png").write_bytes(b"")
    found = score_to(media, output, prompt=PROMPT, model=model, retry_errors=True)
    assert counts(found) == (TOTAL, TOTAL - 1, 1)
    assert (found.kept, sum(found.errors.values())) == (TOTAL - 2, 1)
    rows = rows_of(output)
    assert {row["id"] for row in rows if row["status"] == "error"} == {"empty.png"}
    assert [row for row in rows if row["id"] != "broken.png"] == [
        row for row in before if row["id"] != "broken.png"
    ]
    picture(64, 48, seed=51).save(media / "empty.png")
    names = ["status", "id", "overall"]
    again = {"prompt": PROMPT, "model": model, "retry_errors": True, "columns": names}
    score_to(media, output, **again)
    assert [list(row) for row in rows_of(output)] == [names] * TOTAL
    written = output.read_bytes()
    shutil.rmtree(media)
    media.mkdir()
    found = score_to(media, output, **again)
    assert found.was_complete and counts(found) == (TOTAL, TOTAL, 0)
    assert output.read_bytes() == written


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_interrupted_retry(media: Path, tmp_path: Path, model, suffix: str) -> None:
    output = tmp_path / f"x{suffix}"
    score_to(media, output, prompt=PROMPT, model=model)
    before = output.read_bytes()
    (media / "more.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"has no row where the source has 'more.png'"):
        score_to(media, output, prompt=PROMPT, model=model, retry_errors=True)
    (media / "more.png").unlink()
    for name in ("broken.png", "empty.png"):
        picture(64, 48, seed=50).save(media / name)
    stopped = threading.Event()
    stopped.set()
    first = score_to(media, output, prompt=PROMPT, model=model, retry_errors=True, stop=stopped)
    assert first.interrupted and output.read_bytes() == before
    output.unlink()
    again = {"prompt": PROMPT, "model": model, "resume": True}
    with pytest.raises(UsageError, match="No such file"):
        score_to(media, output, **again)
    short = b"".join(before.splitlines(keepends=True)[1:]) if suffix == ".jsonl" else before
    output.write_bytes(short)
    if suffix == ".jsonl":
        with pytest.raises(UsageError, match=r"has changed \(8 rows; expected 9\)"):
            score_to(media, output, **again)
        output.write_bytes(before.replace(b'"0.png"', b'"z.png"'))
        with pytest.raises(UsageError, match=r"has changed \('z.png'; expected '0.png'\)"):
            score_to(media, output, **again)
    output.write_bytes(before)
    kept = score_to(media, output, **again)
    assert counts(kept) == (TOTAL, TOTAL - 2, 2)
    assert kept.errors == {"UnsupportedMediaError": 1, "EmptyFileError": 1}
    assert output.read_bytes() == before
    assert score_to(media, output, prompt=PROMPT, model=model, retry_errors=True).failed == 0


def test_shards_of_several_paths(media: Path, tmp_path: Path, model) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"file,words,id,n\n{media / '0.png'},a cat,cat,7\n")
    paths = [media, manifest]
    ids = []
    for which in (1, 2):
        found = score_to(
            paths, tmp_path / f"{which}.parquet", model=model, shard=f"{which}/2",
            prompt=PROMPT, media_column="file", prompt_column="words",
        )  # fmt: skip
        ids += [row["id"] for row in rows_of(found.output)]
        request = json.loads(pq.read_schema(found.output).metadata[b"librehps.request"])
        assert (request["shard"], request["media_column"]) == (f"{which}/2", "file")
    assert len(ids) == len(set(ids)) == TOTAL + 1
    assert "cat" in ids


def test_columns_of_the_users_choice(media: Path, tmp_path: Path, model) -> None:
    found = score_to(
        media / "0.png", tmp_path / "x.jsonl", prompt=PROMPT, model=model, columns=["id", "scalar"]
    )
    assert list(rows_of(found.output)[0]) == ["id", "scalar"]
    with pytest.raises(UsageError, match="no column nothing"):
        score_to(media, tmp_path / "y.jsonl", prompt=PROMPT, model=model, columns=["nothing"])
    assert not list(tmp_path.glob("y*")), "a refused run leaves nothing"


def test_refusals_come_before_a_model_is_loaded(media: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(LibreHPS, "from_pretrained", None)
    for paths, output, given, why in [
        (media / "no.png", "x.parquet", {"prompt": "x"}, "no such file"),
        (media, "x.parquet", {}, "no prompt was given"),
        (media, "x.csv", {"prompt": "x"}, "x.csv"),
        (media, "x.parquet", {"prompt": "x", "shard": "3/2"}, "expected I/N"),
        (media / "0.png", "media/0.png.jsonl", {"prompt": " "}, "the prompt is empty"),
    ]:
        with pytest.raises(UsageError, match=why):
            score_to(paths, tmp_path / output, model="tiny", **given)


def test_a_download_is_asked_for(media: Path, tmp_path: Path, model, monkeypatch) -> None:
    asked = []

    def load(download: bool, **_: object) -> LibreHPS:
        if not download:
            raise DownloadNeededError("not here")
        return model

    class Person(RunObserver):
        def confirm_download(self, message: str) -> bool:
            asked.append(message)
            return len(asked) > 1

    monkeypatch.setattr(LibreHPS, "from_pretrained", load)
    given = {"prompt": "x", "model": ModelOptions("a/b", download=False), "observer": Person()}
    with pytest.raises(DownloadNeededError):
        score_to(media, tmp_path / "x.jsonl", **given)
    assert score_to(media, tmp_path / "x.jsonl", **given).ok == TOTAL - 2
    assert asked == ["not here", "not here"]


def test_a_loaded_model_is_refused_on_ray(media: Path, tmp_path: Path, model) -> None:
    with pytest.raises(UsageError, match="loaded model"):
        score_to(media, tmp_path / "x", prompt="x", model=model, engine="ray")


def test_rows_one_by_one(media: Path, model) -> None:
    stream = score_rows(media, prompt=PROMPT, model=model)
    records = [stream.record(row, "default") for row in stream]
    assert [r["status"] for r in records] == ["ok"] * (TOTAL - 2) + ["error"] * 2
    assert (stream.progress.ok, stream.progress.failed, stream.source.skipped) == (TOTAL - 2, 2, 1)


def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what version 0.1.0 left, whose relative paths begin in `tmp_path`."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    monkeypatch.chdir(folder)
    for file in (folder / "x.jsonl.settings.json", folder / "y.jsonl.journal" / "run.json"):
        record = json.loads(file.read_text())
        record["request"]["folder"] = str(folder)
        file.write_text(json.dumps(record))
    return folder


@pytest.fixture
def as_first(monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    """A model with the settings of version 0.1.0, to check that its files are understood."""
    monkeypatch.setattr("librehps.scorer.NUMERICS", 1)
    return ModelOptions("tiny", device="cpu", dtype="float32", **FIRST_MEDIA)


def test_a_journal_of_version_0_1_0_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_first: ModelOptions
) -> None:
    folder = old(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="layout 1; expected layout 5") as refusal:
        score_to("media", "y.jsonl", prompt=PROMPT, model=as_first, resume=True)
    assert "Finish the run with the version that began it" in (refusal.value.hint or "")
    assert (folder / "y.jsonl.journal" / "rows.jsonl").exists()
    found = score_to("media", "y.jsonl", prompt=PROMPT, model=as_first, overwrite=True)
    assert (found.total, found.ok, found.failed, found.kept) == (7, 6, 1, 0)
    for row, other in zip(rows_of(Path("y.jsonl")), rows_of(Path("x.jsonl")), strict=True):
        assert row["overall_mu"] == pytest.approx(other["overall_mu"], abs=2e-3)
    assert not (folder / "y.jsonl.journal").exists()


def test_version_0_1_0_is_complete_and_redone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_first: ModelOptions
) -> None:
    folder = old(tmp_path, monkeypatch)
    assert score_to("media", "x.jsonl", prompt=PROMPT, model=as_first, resume=True).was_complete
    shutil.copy(folder / "media" / "a.png", folder / "media" / "broken.png")
    found = score_to("media", "x.jsonl", prompt=PROMPT, model=as_first, retry_errors=True)
    assert (found.total, found.ok, found.failed, found.kept) == (7, 7, 0, 6)
    frames = replace(as_first, num_frames=2)
    with pytest.raises(UsageError, match="num_frames 4, now 2"):
        score_to("media", "x.jsonl", prompt=PROMPT, model=frames, resume=True)


def test_version_0_1_0_is_not_resumed_with_other_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(tmp_path, monkeypatch)
    with pytest.raises(UsageError) as refusal:
        score_to("media", "x.jsonl", prompt=PROMPT, model="tiny", resume=True)
    message = str(refusal.value)
    for words in (
        "background keep, now white",
        "color_management False, now True",
        "animated still, now clip",
        "numerics 1, now 2",
    ):
        assert words in message
    assert "sample" not in message
    assert "Another version" in str(refusal.value.hint)


def test_no_option_resumes_version_0_1_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path, monkeypatch)
    model = ModelOptions("tiny", device="cpu", dtype="float32", **FIRST_MEDIA)
    with pytest.raises(UsageError, match=r"started with numerics 1, now 2$"):
        score_to("media", "x.jsonl", prompt=PROMPT, model=model, resume=True)


def test_version_0_1_0_is_compared_with_its_settings_only(
    tmp_path: Path, as_first: ModelOptions
) -> None:
    new, other = tmp_path / "new.parquet", tmp_path / "other.parquet"
    score_to(OLD / "media", new, prompt=PROMPT, model=as_first)
    table, settings = read_table([OLD / "x.parquet", OLD / "x.jsonl", new])
    assert len(table) == 21
    assert len(table["settings"].unique()) == 1
    assert differing(settings, read_table([new])[1]) == []
    score_to(OLD / "media", other, prompt=PROMPT, model=replace(as_first, background="#0a0B0c"))
    with pytest.raises(UsageError, match=r"differ in settings: background$"):
        read_table([OLD / "x.parquet", other])


def test_media_options_are_keywords(media: Path, tmp_path: Path, model) -> None:
    output, still = tmp_path / "x.jsonl", {"background": "#FFFFFF", "animated": "still"}
    score_to(media / "0.png", output, prompt=PROMPT, model="tiny", sample="time", **still)
    settings = read_table([output])[1]
    assert (settings["sample"], settings["background"]) == ("time", "white")
    assert (settings["animated"], settings["color_management"]) == ("still", True)
    with pytest.raises(UsageError, match="expected keep, white, black or #RRGGBB"):
        score_to(media, output, prompt=PROMPT, model="tiny", background="red", overwrite=True)
    with pytest.raises(UsageError, match=r"background, animated: .*a loaded model has its own"):
        score_to(media, output, prompt=PROMPT, model=model, overwrite=True, **still)
