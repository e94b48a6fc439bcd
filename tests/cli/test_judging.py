"""librehps evaluate and calibrate on real pictures."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

import in_process
from conftest import CHECKPOINT, Cli
from librehps import LibreHPS
from librehps.evaluate.calibration import load_platt_calibrator
from preference_data import brightness_pairs, write_rows

pytestmark = pytest.mark.slow

MODEL = ("--model", CHECKPOINT)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_pairs(tmp_path_factory.mktemp("pairs"), 30)


@pytest.fixture(scope="module")
def by_model(pairs: Path) -> dict:
    """Return the figures of the model's own scores, which are kept in scores.parquet."""
    file = pairs.with_name("scores.parquet")
    words = ("evaluate", pairs, *MODEL, "--by", "severity", "--save-scores", file)
    return json.loads(in_process.run(words).stdout)


@pytest.fixture
def scores(by_model: dict, pairs: Path) -> Path:
    return pairs.with_name("scores.parquet")


def test_a_scored_file_gives_the_same_figures(
    cli: Cli, pairs: Path, scores: Path, by_model: dict
) -> None:
    by_file = json.loads(
        cli("evaluate", pairs, "--scores", scores, "--by", "severity", COLUMNS="80").stdout
    )
    for name in ("model", "fingerprint", "settings", "axes"):
        assert by_model[name] == by_file[name]
    ours, theirs = by_model["benchmarks"][0], by_file["benchmarks"][0]
    assert ours["pair_acc"] == theirs["pair_acc"]
    assert ours["brier"] == pytest.approx(theirs["brier"], abs=1e-4)
    assert {row["severity"] for row in by_file["by"]["severity"]} == {"mild", "strong"}


def test_accuracy_is_that_of_the_api(pairs: Path, by_model: dict, golden: LibreHPS) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    right = 0
    for row in rows:
        a, b = (
            golden.score_image(pairs.parent / row[side], row["prompt"]).overall.raw_mean
            for side in ("media_a", "media_b")
        )
        right += (a > b) == (row["overall"] == 1)
    assert by_model["benchmarks"][0]["pair_acc"] == pytest.approx(right / len(rows))


def test_markdown_table_and_plots(cli: Cli, pairs: Path, scores: Path, tmp_path: Path) -> None:
    plots = [tmp_path / f"r.{kind}" for kind in ("png", "svg")]
    options = [word for plot in plots for word in ("--plot", plot)]
    done = cli("evaluate", pairs, "--scores", scores, "--markdown", *options)
    assert "| light | 30 |" in done.stdout
    assert plots[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in plots[1].read_text()
    assert "light" in cli("evaluate", pairs, "--scores", scores, "--table").stdout
    wrong = cli("evaluate", pairs, "--scores", scores, "--plot", tmp_path / "r.gif")
    assert wrong.returncode == 2


def test_broken_media_cost_their_pairs(cli: Cli, tmp_path: Path) -> None:
    pairs = brightness_pairs(tmp_path, 6)
    (tmp_path / "2a.png").write_bytes(b"")
    done = cli("evaluate", pairs, *MODEL)
    assert done.returncode == 3
    assert "2a.png is empty" in done.stderr
    record = json.loads(done.stdout)
    assert record["media_errors"] == 1
    assert record["left_out"] == {"media without a score": 1}
    assert record["benchmarks"][0]["n"] == 5


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "train"])
def test_wrong_preference_files(cli: Cli, tmp_path: Path, command: str) -> None:
    file = write_rows(tmp_path / "p.jsonl", [{"prompt": "x", "media_a": "a.png"}])
    output = () if command == "evaluate" else ("-o", tmp_path / "out")
    done = cli(command, file, *MODEL, *output)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "lacks the column media_b" in done.stderr
    assert "Traceback" not in done.stderr
    gone = cli(command, tmp_path / "gone.jsonl", *MODEL, *output)
    assert gone.returncode == 2


@pytest.mark.parametrize("source", ["--scores", "--model"])
def test_an_unknown_column_is_named_before_anything_is_scored(
    cli: Cli, pairs: Path, scores: Path, tmp_path: Path, source: str
) -> None:
    found = scores if source == "--scores" else tmp_path / "no model"
    done = cli("evaluate", pairs, source, found, "--by", "colour")
    assert done.returncode == 1
    assert "column not found in the pairs: colour" in done.stderr
    assert "severity" in done.stderr


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """800 pairs of 16 pictures, and a scored file of plausible mus: no model is needed to fit."""
    folder = tmp_path_factory.mktemp("many")
    few = brightness_pairs(folder, 8, prompts=1)
    row = json.loads(few.read_text().splitlines()[0])
    media = [f"{i}{side}.png" for i in range(8) for side in "ab"]
    mus = {name: index / 4 for index, name in enumerate(media)}
    pairs = [
        {**row, "media_a": a, "media_b": b, "overall": float((mus[a] > mus[b]) ^ (n % 5 == 0))}
        for n, (a, b) in enumerate([(a, b) for a in media for b in media if a != b] * 4)
    ]
    scored = [
        {
            "id": name,
            "media": str(folder / name),
            "prompt": row["prompt"],
            "status": "ok",
            **{f"{axis}_mu": mu for axis in ("overall", "alignment", "coherence", "style")},
            "temporal_mu": None,
        }
        for name, mu in mus.items()
    ]
    return write_rows(folder / "many.jsonl", pairs), write_rows(folder / "scored.jsonl", scored)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_calibrate(cli: Cli, many: tuple[Path, Path], tmp_path: Path, method: str) -> None:
    pairs, scored = many
    output = tmp_path / "c.json"
    arguments = ("calibrate", pairs, "--scores", scored, "-o", output, "--method", method)
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[0])
    assert figures["benchmark"] == "light"
    assert figures["ece_calibrated"] < 0.15
    assert "unknown before: the scores have no sigmas" in done.stderr
    fit = load_platt_calibrator(output).get("light")
    assert fit.a > 0
    assert (fit.b == 0) == (method == "temperature")
    again = cli(*arguments)
    assert again.returncode == 2
    calibrated = cli("evaluate", pairs, "--scores", scored, "--calibration", output)
    record = json.loads(calibrated.stdout)
    assert record["split"] == "held-out"
    assert record["benchmarks"][0]["brier"] is None, "a file without sigmas"
    assert record["benchmarks"][0]["ece_calibrated"] == figures["ece_calibrated"]


def test_too_few_pairs_are_refused_before_anything_is_scored(
    cli: Cli, pairs: Path, tmp_path: Path
) -> None:
    done = cli("calibrate", pairs, "--model", tmp_path / "no model", "-o", tmp_path / "c.json")
    assert done.returncode == 1
    assert "expected at least 50" in done.stderr
    assert not [*tmp_path.iterdir()]


def test_a_refused_fit_keeps_the_scores(
    cli: Cli, many: tuple[Path, Path], tmp_path: Path, tiny: LibreHPS
) -> None:
    folder, row = many[0].parent, json.loads(many[0].read_text().splitlines()[0])
    names = ("0a.png", "0b.png")
    one, two = (tiny.score_image(folder / n, row["prompt"]).overall.raw_mean for n in names)

    def judged(wins: bool) -> Path:
        rows = [{**row, "media_a": names[0], "media_b": names[1], "overall": float(wins)}] * 700
        return write_rows(tmp_path / "p.jsonl", rows)

    output, kept = tmp_path / "c.json", tmp_path / "c.scores.parquet"
    words = ("calibrate", judged(one < two), "--root", folder, "-o", output, "--accept-worse")
    words += ("--method", "temperature")
    refused = cli(*words, "-m", "tiny")
    assert refused.returncode == 1 and "so higher scores do not win" in refused.stderr
    assert f"the scores are kept: to use them, add --scores {kept}" in refused.stderr
    again = cli(*words, "-m", "tiny", "--overwrite")
    assert again.returncode == 2 and f"Use them: --scores {kept}" in again.stderr
    assert cli(*words, "--scores", kept, "--save-scores", tmp_path / "s.parquet").returncode == 2
    judged(one > two)
    assert cli(*words, "--scores", kept).returncode == 0 and kept.exists()
    kept.unlink()
    assert cli(*words, "-m", "tiny", "--overwrite").returncode == 0
    assert output.exists() and not kept.exists()


def test_columns_of_pairs_can_be_named_on_every_command(
    cli: Cli, pairs: Path, scores: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    renamed = [
        {
            "brief": r["prompt"],
            "ours": r["media_a"],
            "theirs": r["media_b"],
            "won": int(r["overall"]),
        }
        for r in rows
    ]
    file = write_rows(tmp_path / "p.jsonl", renamed)
    names = ("--a-column", "ours", "--b-column", "theirs", "--prompt-column", "brief")
    values = ("--winner-column", "won", "--winner-values", "1,0", "--root", pairs.parent)
    done = cli("evaluate", file, "--scores", scores, *names, *values)
    expected = json.loads(cli("evaluate", pairs, "--scores", scores).stdout)
    assert json.loads(done.stdout)["axes"] == expected["axes"]
    words = ("--rename", "ours=media_a", "--rename", "theirs=media_b", "--rename", "brief=prompt")
    again = cli(
        "evaluate", file, "--scores", scores, *words, "--rename", "won=overall", *values[4:]
    )
    assert json.loads(again.stdout)["axes"] == expected["axes"]
    compared = cli("compare", file, *MODEL, *names, "--root", pairs.parent, "--json")
    assert len(compared.stdout.splitlines()) == len(rows)
    assert {"won", "winner"} <= json.loads(compared.stdout.splitlines()[0]).keys()
    unsure = cli("evaluate", file, "--scores", scores, *names, *values[:2], *values[4:])
    assert unsure.returncode == 1
    assert "--winner-values" in unsure.stderr


@pytest.fixture
def sharp(many: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The 800 pairs and scores, with sigmas that are far too small."""
    pairs, scored = many
    rows = [json.loads(line) for line in scored.read_text().splitlines()]
    return pairs, write_rows(tmp_path / "s.jsonl", [{**r, "overall_sigma": 0.2} for r in rows])


def test_a_fit_that_is_worse_on_held_out_pairs_is_not_written(
    cli: Cli, sharp: tuple[Path, Path], tmp_path: Path
) -> None:
    """People who always agree on the pairs to fit on make a fit that is too sure of the others."""
    pairs, scored = sharp
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    in_tenth = fits_of_rows(rows)
    wrong = [
        {**row, "overall": row["overall"] if n % 5 or not own else 1 - row["overall"], "index": n}
        for n, (row, own) in enumerate(zip(rows, in_tenth, strict=True))
    ]
    file, output = write_rows(pairs.with_name("wrong.jsonl"), wrong), tmp_path / "c.json"
    good = write_rows(
        pairs.with_name("good.jsonl"), [{**r, "index": n} for n, r in enumerate(rows)]
    )
    better = cli("calibrate", good, "--scores", scored, "-o", output)
    assert better.returncode == 0
    assert "before (the sigmas)" in better.stderr
    words = ("calibrate", file, "--scores", scored, "--calibration", output)
    worse = cli(*words, "-o", tmp_path / "w.json")
    assert worse.returncode == 1
    assert "w.json not written: on" in worse.stderr
    assert "the fit is worse than the current calibration: nll" in worse.stderr
    assert "--accept-worse" in worse.stderr
    assert len(worse.stdout.splitlines()) == 2, "the figures are shown"
    assert not (tmp_path / "w.json").exists()
    told = cli(*words, "-o", tmp_path / "w.json", "--accept-worse")
    assert told.returncode == 0
    assert load_platt_calibrator(tmp_path / "w.json").default.a > 0


def fits_of_rows(rows: list[dict]) -> list[bool]:
    """Return which rows the published split uses to fit on."""
    names = (f"phaseC|{row['benchmark']}|{n}" for n, row in enumerate(rows))
    return [int.from_bytes(sha256(n.encode()).digest()[:8], "big") % 10 == 0 for n in names]


def test_evaluate_says_which_pairs_it_reports_and_why(
    cli: Cli, sharp: tuple[Path, Path], tmp_path: Path
) -> None:
    pairs, scored = sharp
    output = tmp_path / "c.json"
    cli("calibrate", pairs, "--scores", scored, "-o", output)
    words = ("evaluate", pairs, "--scores", scored)
    runs = [
        json.loads(cli(*words, *more).stdout)
        for more in ((), ("--calibration", output), ("--split", "held-out"))
    ]
    assert "there is no calibration, so that none are held out" in runs[0]["split_reason"]
    assert runs[0]["pairs_reported"] == runs[0]["pairs"] > runs[1]["pairs_reported"]
    assert runs[1]["split_reason"] == runs[2]["split_reason"]
    assert runs[1]["pairs_digest"] == runs[2]["pairs_digest"] != runs[0]["pairs_digest"]
    assert runs[1]["aggregate"]["pair_acc"] == runs[2]["aggregate"]["pair_acc"]
    table = cli(*words, "--calibration", output, "--table", COLUMNS="200").stdout
    assert f"overall, by benchmark; {runs[1]['split_reason']}" in table
    for other in ("--markdown", "--json"):
        done = cli(*words, "--split", "all", other)
        assert "none are held out" in done.stdout


def test_two_evaluations_of_the_built_in_model_report_the_same_pairs(
    cli: Cli, pairs: Path, tmp_path: Path
) -> None:
    """The calibration of a scored file's model is found, as that of the model itself is."""
    scores = tmp_path / "tiny.parquet"
    first = json.loads(cli("evaluate", pairs, "-m", "tiny", "--save-scores", scores).stdout)
    again = json.loads(cli("evaluate", pairs, "--scores", scores).stdout)
    for name in ("calibrated", "split", "split_reason", "pairs_digest"):
        assert first[name] == again[name]
    assert first["calibrated"]
