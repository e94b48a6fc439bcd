"""librehps compare, best-of-n and info on real files."""

import json
from pathlib import Path

import pytest

from conftest import CHECKPOINT, MEDIA, Cli
from librehps import LibreHPS
from make_media import picture

MODEL = ("--model", CHECKPOINT)
CAT = "a cat sitting on a windowsill"


def calibration(folder: Path, **origin: str) -> Path:
    file = folder / "c.json"
    file.write_text(json.dumps({"global": {"a": 2.5, "b": 0.1}, **origin}))
    return file


def test_compare(cli: Cli, tmp_path: Path) -> None:
    a, b = MEDIA / "sq448.png", MEDIA / "sq1024.png"
    extra = ("--prompt", CAT, *MODEL, "--calibration", calibration(tmp_path))
    forth, back = (json.loads(cli("compare", *pair, *extra).stdout) for pair in ((a, b), (b, a)))
    assert (forth["winner"], back["winner"]) == ("b", "a")
    assert forth["p_a_wins"] + back["p_a_wins"] == pytest.approx(1, abs=1e-4)
    assert forth["win_probability"] == pytest.approx(back["win_probability"], abs=1e-4)
    assert forth["win_probability"] == pytest.approx(0.8465, abs=0.01)
    assert forth["confident"]
    assert forth["calibrated"]
    assert forth["scores_a"]["overall_mu"] == pytest.approx(-9.7215, abs=5e-3)
    table = cli("compare", a, b, *extra, "--table")
    assert "b wins" in table.stdout


def test_compare_videos(cli: Cli) -> None:
    done = cli("compare", MEDIA / "clip8.mp4", MEDIA / "tall.webm", "--prompt", "x", *MODEL)
    verdict = json.loads(done.stdout)
    assert verdict["scores_a"]["temporal"] is not None
    assert not verdict["calibrated"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            (MEDIA / "small.png", MEDIA / "clip8.mp4", "--prompt", "x"),
            2,
            "expected media of one",
        ),
        ((MEDIA / "small.png", MEDIA, "--prompt", "x"), 2, "is a folder"),
        ((MEDIA / "small.png", "gone.png", "--prompt", "x"), 2, "no such file: gone.png"),
        ((MEDIA / "small.png", MEDIA / "gray.png"), 2, "no prompt was given"),
    ],
)
def test_compare_usage(cli: Cli, arguments: tuple, code: int, words: str) -> None:
    done = cli("compare", *arguments, *MODEL)
    assert done.returncode == code
    assert words in done.stderr


def test_compare_needs_one_prompt(cli: Cli, tmp_path: Path) -> None:
    for name in "ab":
        picture().save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(name)
    pair = (tmp_path / "a.png", tmp_path / "b.png", "--prompt-from", "sidecar", *MODEL)
    done = cli("compare", *pair)
    assert done.returncode == 2
    assert "expected one prompt, got" in done.stderr
    (tmp_path / "b.txt").write_text("a")
    assert cli("compare", *pair).returncode == 0


def test_a_calibrator_of_another_model_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = calibration(tmp_path, model="LibreHPS-Tiny", fingerprint="0123456789ab")
    pair = (MEDIA / "small.png", MEDIA / "gray.png", "--prompt", "x", *MODEL)
    for command in (("compare", *pair), ("best-of-n", *pair), ("info", *MODEL)):
        done = cli(*command, "--calibration", file)
        assert done.returncode == 1
        assert "was fitted for LibreHPS-Tiny" in done.stderr
    gone = cli("compare", *pair, "--calibration", tmp_path / "gone.json")
    assert gone.returncode == 2
    assert "--calibration: file not found" in gone.stderr


def test_a_calibrator_is_not_taken_from_the_working_directory(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration(tmp_path).rename(tmp_path / "calibration.json")
    monkeypatch.chdir(tmp_path)
    done = cli("compare", MEDIA / "small.png", MEDIA / "gray.png", "--prompt", "x", *MODEL)
    assert not json.loads(done.stdout)["calibrated"]


def test_best_of_n(cli: Cli, tmp_path: Path, golden: LibreHPS) -> None:
    names = ["small.png", "sq448.png", "wide.png"]
    paths = [MEDIA / name for name in names]
    best = max(paths, key=lambda path: golden.score_image(path, CAT).overall.raw_mean)
    done = cli("best-of-n", *paths, "--prompt", CAT, *MODEL)
    assert done.returncode == 0
    assert done.stdout == f"{best}\n"
    assert "best of 3" in done.stderr
    extra = ("--json", "--calibration", calibration(tmp_path))
    record = json.loads(cli("best-of-n", *paths, "--prompt", CAT, *MODEL, *extra).stdout)
    assert record["media"] == str(best)
    assert record["scored"] == 3
    assert record["margin"] > 0
    assert 0.5 < record["win_probability"] < 1


def test_best_of_each_folder(cli: Cli, tmp_path: Path) -> None:
    for folder in ("a_cat", "a_dog"):
        (tmp_path / folder).mkdir()
        for seed in range(3):
            picture(seed=seed).save(tmp_path / folder / f"{seed}.png")
    (tmp_path / "a_dog" / "bad.png").write_bytes(b"")
    done = cli("best-of-n", tmp_path, "--prompt-from", "folder", *MODEL)
    assert done.returncode == 3
    assert [Path(line).parent.name for line in done.stdout.splitlines()] == ["a_cat", "a_dog"]
    assert "bad.png is empty" in done.stderr


def test_info(cli: Cli) -> None:
    done = cli("info", *MODEL)
    facts = json.loads(done.stdout)
    for name in ("device", "dtype", "attention", "delta_rule", "calibrator", "settings"):
        assert facts[name]["value"]
        assert facts[name]["why"]
    foreseen = LibreHPS.foresee(CHECKPOINT, device="cpu", dtype="float32")
    assert facts["settings"]["value"] == foreseen.digest
    assert "needs CUDA" in facts["attention"]["why"]
    table = cli("info", *MODEL, "--table", "--dtype", "bfloat16", "--attn", "eager")
    assert "bfloat16" in table.stdout
    assert "as asked" in table.stdout


def test_version(cli: Cli) -> None:
    import librehps

    assert cli("--version").stdout == f"librehps {librehps.__version__}\n"


def test_the_model_from_the_environment(cli: Cli) -> None:
    done = cli("info", "--json", LIBREHPS_MODEL=str(CHECKPOINT))
    assert json.loads(done.stdout)["model"]["value"] == "checkpoint"
