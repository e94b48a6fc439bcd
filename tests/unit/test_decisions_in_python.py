"""The decisions of the commands, made in Python with public names."""

import ast
import json
import runpy
from importlib import util
from pathlib import Path

import pyarrow as pa
import pytest

import librehps
from conftest import EXAMPLES
from librehps.decide.probability import Platt
from librehps.errors import (
    CalibratorMismatchError,
    ExtraNeededError,
    MediaError,
    NothingScoredError,
    UsageError,
)
from librehps.evaluate.judged import judge_table
from librehps.preferences.read import read_preferences
from librehps.runs.scored import Scoring, read_or_score

MUS = {"a.png": 1.0, "b.png": 3.0, "c.png": 2.0, "d.png": 0.5}
SETTINGS = {"model": "m", "fingerprint": "f"}
FIT = Platt(2.0, 0.0, "m", "f")


def row(name: str, mu: float | None, prompt: str = "x") -> dict:
    return {
        "id": name, "media": name, "kind": "image", "prompt": prompt, "gen": name[0],
        "overall": None if mu is None else 0.5, "style": None, "overall_mu": mu, "style_mu": None,
        "status": "error" if mu is None else "ok",
        "error_type": "BrokenMediaError" if mu is None else None,
        "error": "broken" if mu is None else None, "settings": "d",
    }  # fmt: skip


@pytest.fixture
def table() -> librehps.ScoreTable:
    rows = [row(name, mu) for name, mu in MUS.items()] + [row("e.png", None)]
    return librehps.ScoreTable(pa.Table.from_pylist(rows), SETTINGS)


def test_a_score_table_is_read_as_it_was_written(table, tmp_path: Path) -> None:
    for name in ("s.parquet", "s.jsonl"):
        table.write(tmp_path / name)
        with pytest.raises(UsageError, match="exists"):
            table.write(tmp_path / name)
        read = librehps.read_scores(tmp_path / name)
        assert (len(read), read.axes, read.digest) == (5, ("overall", "style"), "d")
        assert read.settings == SETTINGS
        assert [r["overall_mu"] for r in read.rows()] == [1.0, 3.0, 2.0, 0.5, None]
        assert [r["id"] for r in read.errors().rows()] == ["e.png"]
    (tmp_path / "parts").mkdir()
    for part in ("1.parquet", "2.parquet"):
        table.write(tmp_path / "parts" / part)
    assert len(librehps.read_scores(tmp_path / "parts")) == 10
    assert len(librehps.read_scores([str(tmp_path / "s.parquet"), tmp_path / "s.jsonl"])) == 10


def test_a_data_frame_needs_pandas(table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librehps.scores.score_table.find_spec", lambda name: None)
    with pytest.raises(ExtraNeededError, match="to_pandas needs pandas"):
        table.to_pandas()


@pytest.mark.skipif(util.find_spec("pandas") is None, reason="pandas is not installed")
def test_a_data_frame_has_the_columns(table) -> None:
    assert list(table.to_pandas()["id"]) == [*MUS, "e.png"]


def test_best_of_n(table, tmp_path: Path) -> None:
    found = librehps.best_of_n(table, calibrator=FIT, top=2)
    assert [record["id"] for record in found.records] == ["b.png", "c.png"]
    assert found.records[0]["win_probability"] == FIT.probability(1.0)
    assert found.table.settings == SETTINGS
    assert found.curve().records()[0]["n"] == 1
    table.write(tmp_path / "s.parquet")
    again = librehps.best_of_n(tmp_path / "s.parquet", per="gen")
    assert [record["id"] for record in again.taken.rows()] == list(MUS)
    assert not again.is_calibrated


def test_best_of_n_abstains_by_a_calibrator_of_these_weights_alone(table) -> None:
    unsure = librehps.best_of_n(table, calibrator=FIT, abstain_below=0.95)
    assert (len(unsure.table), len(unsure.taken)) == (1, 0)
    with pytest.raises(UsageError, match="needs a calibrator"):
        librehps.best_of_n(table, abstain_below=0.95)
    with pytest.raises(UsageError, match="only overall has"):
        librehps.best_of_n(table, weights={"overall": -1}, abstain_below=0.95, calibrator=FIT)
    with pytest.raises(CalibratorMismatchError):
        librehps.best_of_n(table, calibrator=Platt(2.0, 0.0, "other", "g"))


def test_best_of_n_refuses(table) -> None:
    with pytest.raises(UsageError, match="cannot be used together"):
        librehps.best_of_n(table, axis="overall", weights="overall=1")
    with pytest.raises(UsageError, match="no axis beauty"):
        librehps.best_of_n(table, axis="beauty")
    with pytest.raises(UsageError, match="top >= 1"):
        librehps.best_of_n(table, top=0)
    with pytest.raises(NothingScoredError, match="no row has a score on style"):
        librehps.best_of_n(table, axis="style")


def test_filter_rows(table) -> None:
    def ids(**conditions: object) -> list[str]:
        return [r["id"] for r in librehps.filter_rows(table, **conditions).rows()]

    assert ids(min={"overall_mu": 1.0}) == ["a.png", "b.png", "c.png"]
    assert ids(min=[("overall_mu", 1.0), ("overall_mu", 2.0)]) == ["b.png", "c.png"]
    assert ids(max={"overall_mu": 1.0}, invert=True) == ["b.png", "c.png", "e.png"]
    assert ids(top=1) == ids(top="25%") == ["b.png"]
    assert ids(top=1, per="gen") == ids(ok_only=True) == list(MUS)
    for wrong in ({}, {"by": "overall"}, {"top": 0}, {"top": "many"}, {"min": {"colour": 1}}):
        with pytest.raises(UsageError):
            ids(**wrong)


def test_media_are_copied_by_id_and_by_prompt(table, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in MUS:
        Path(name).write_text(name)
    librehps.copy_media(librehps.filter_rows(table, top=2), "good")
    assert sorted(p.name for p in Path("good").iterdir()) == ["b.png", "c.png"]
    librehps.best_of_n(table).copy_to("best", link=True)
    assert Path("best", "x.png").read_text() == "b.png"


def test_leaderboard_and_report(table, tmp_path: Path) -> None:
    rows = [row(f"{gen}{i}", mu + i % 3, f"p{i}") for gen, mu in (("g", 0.0), ("h", 5.0))
            for i in range(9)]  # fmt: skip
    two = librehps.ScoreTable(pa.Table.from_pylist(rows), SETTINGS)
    found = librehps.leaderboard(two, "gen", axis="overall", resamples=100)
    assert [s.generator for s in found.boards[0].standings] == ["h", "g"]
    assert found.records()[0]["standings"][0]["win_rate"] == 1.0
    assert found.to_arrow().column("generator").to_pylist() == ["h", "g"]
    with pytest.raises(UsageError, match="got one: "):
        librehps.leaderboard(two, "gen", only=["g"])
    written = librehps.write_report(two, tmp_path / "r.html", by="gen", title="Mine", pictures=0)
    assert written.rows == 18
    assert "Mine" in written.output.read_text()
    with pytest.raises(UsageError, match="exists"):
        librehps.write_report(two, tmp_path / "r.html")


def test_the_calibrator_of_a_table_is_that_of_its_model(table, tiny, tmp_path: Path) -> None:
    record = tiny.settings.record()
    ours = librehps.ScoreTable(table.table, record)
    assert librehps.find_calibrator(ours) == tiny.calibrator()
    assert librehps.find_calibrator(table, model="tiny") is None
    with pytest.raises(CalibratorMismatchError):
        librehps.find_calibrator(table, tiny.folder / "calibration.json")


def test_media_are_scored_only_for_axes_that_the_model_has(tiny) -> None:
    path = str(EXAMPLES / "media" / "match.png")

    def shown(rows: object, total: int) -> object:
        raise AssertionError("nothing is scored")

    scoring = Scoring(lambda: tiny, prompt="x", watch=shown, axes=["beauty"])
    with pytest.raises(UsageError, match="no axis beauty"):
        read_or_score([path], scoring)
    scored = read_or_score([path], Scoring(lambda: tiny, prompt="x", axes=["style"]))
    assert [row["id"] for row in scored.scores.rows()] == ["match.png"]
    assert scored.calibrator == tiny.calibrator()


CIRCLE = "a red circle left of a blue square"


def test_compare_of_two_and_of_several(tiny) -> None:
    paths = [EXAMPLES / "media" / name for name in ("match.png", "torn.png", "blurred.png")]
    two = librehps.compare(paths[:2], prompt=CIRCLE, model=tiny)
    judged = tiny.compare_images(*paths[:2], CIRCLE, calibrator=tiny.calibrator())
    assert two.verdict is not None
    assert (two.verdict.winner, two.is_calibrated) == ("a", True)
    assert two.verdict.probability == pytest.approx(judged.probability, abs=1e-6)
    many = librehps.compare(paths, prompt=CIRCLE, model=lambda: tiny)
    assert [Path(r["item"]).name for r in many.records()] == [
        "match.png", "blurred.png", "torn.png",
    ]  # fmt: skip
    rows = librehps.compare(list(many.rows))
    assert (rows.verdict, rows.is_calibrated, len(rows.ranking)) == (None, False, 3)
    assert set(rows.records(explain=True)[0]["gaps"]) == {
        "overall", "alignment", "coherence", "style",
    }  # fmt: skip


def test_compare_refuses(tiny, tmp_path: Path) -> None:
    def never() -> librehps.LibreHPS:
        raise AssertionError("the model is loaded once the paths make sense")

    paths = [EXAMPLES / "media" / name for name in ("match.png", "steady.mp4")]
    for media, words in ((paths, "of one kind"), ([paths[0], paths[0]], "no prompt was given")):
        with pytest.raises(UsageError, match=words):
            librehps.compare(media, prompt=None if media[0] == media[1] else "x", model=never)
    with pytest.raises(UsageError, match="two or more"):
        librehps.compare(paths[:1], prompt="x", model=tiny)
    (tmp_path / "bad.png").touch()
    with pytest.raises(MediaError, match="is empty"):
        librehps.compare([paths[0], tmp_path / "bad.png"], prompt="x", model=tiny)


def test_compare_pairs_of_a_file(tiny, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text(f"prompt,media_a,media_b,who\n{CIRCLE},match.png,torn.png,ann\n"
                    f"{CIRCLE},gone.png,torn.png,bob\n")  # fmt: skip
    found = librehps.compare_pairs(file, root=EXAMPLES / "media", model=tiny)
    assert [(r["winner"], r["who"]) for r in found.records] == [("a", "ann"), (None, "bob")]
    assert [r["error_type"] for r in found.errors] == ["MediaNotFoundError"]
    assert found.table.settings == tiny.settings.record()


@pytest.mark.slow
def test_a_script_of_few_lines_scores_picks_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = EXAMPLES / "score_and_pick.py"
    assert len(ast.parse(script.read_text()).body) - 1 <= 8
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    runpy.run_path(str(script))
    first = capsys.readouterr().out
    assert "'match.png'" in first
    # Nothing is left to score, and the page is written again.
    (tmp_path / "picked.html").write_text("")
    runpy.run_path(str(script))
    assert capsys.readouterr().out == first
    assert "match.png" in (tmp_path / "picked.html").read_text()


def test_tags_of_pairs_are_removed_as_those_of_items(tiny, tmp_path: Path) -> None:
    tagged = f"{CIRCLE} <lora:detail:0.8>"
    media = [EXAMPLES / "media" / name for name in ("match.png", "torn.png")]
    file = tmp_path / "pairs.jsonl"
    record = {"prompt": tagged, "media_a": str(media[0]), "media_b": str(media[1]), "overall": "a"}
    file.write_text(f"{json.dumps(record)}\n" * 2)
    pair, _ = librehps.compare_pairs(file, model=tiny).records
    alone = librehps.compare(media, prompt=tagged, model=tiny)
    assert (pair["prompt"], pair["overall_a"]) == (CIRCLE, alone.rows[0].score.overall.mean)
    kept, _ = librehps.compare_pairs(file, model=tiny, keep_markup=True).records
    assert kept["prompt"] == tagged
    manifest = tmp_path / "m.jsonl"
    rows = [{"path": str(path), "prompt": tagged} for path in media]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scored = tmp_path / "s.parquet"
    librehps.score_to(manifest, scored, model=tiny)
    assert len(judge_table(read_preferences(file), librehps.read_scores(scored)).pairs.mu) == 2
