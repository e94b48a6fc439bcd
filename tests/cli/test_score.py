"""librehps score on real files."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from conftest import CHECKPOINT, Cli
from librehps import LibreHPS
from make_media import bad_media, clip, picture, two_pictures_and_a_clip

MODEL = ("--model", CHECKPOINT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures and a clip, each with its prompt beside it."""
    media = two_pictures_and_a_clip(tmp_path / "out")
    for name in ("a", "sub/b", "c"):
        (media / f"{name}.txt").write_text(f"prompt of {name}")
    return media


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_in_a_pipe(cli: Cli, folder: Path, golden: LibreHPS) -> None:
    done = cli("score", folder, "--prompt", "a cat", *MODEL)
    assert done.returncode == 0, done.stderr
    rows = lines(done.stdout)
    assert [row["id"] for row in rows] == ["a.png", "c.mp4", "sub/b.jpg"]
    assert [row["kind"] for row in rows] == ["image", "video", "image"]
    assert rows[0]["overall_mu"] == pytest.approx(
        golden.score_image(folder / "a.png", "a cat").overall.raw_mean, abs=2e-3
    )
    assert (rows[2]["width"], rows[2]["height"]) == (200, 90)
    # The fixture has the reference's way with colours and transparency.
    foreseen = LibreHPS.foresee(CHECKPOINT, device="cpu", dtype="float32")
    assert {row["settings"] for row in rows} == {foreseen.digest}
    assert "3 scored, 0 errors" in done.stderr
    assert "skipped 3 files: 3 .txt" in done.stderr


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_files(cli: Cli, folder: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"x{suffix}"
    command = ("score", folder, "--prompt-from", "sidecar", *MODEL, "-o", output)
    done = cli(*command, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    is_parquet = suffix == ".parquet"
    rows = pq.read_table(output).to_pylist() if is_parquet else lines(output.read_text())
    assert [row["prompt"] for row in rows] == ["prompt of a", "prompt of c", "prompt of sub/b"]
    before = output.read_bytes()
    again = cli(*command)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert output.read_bytes() == before
    assert cli(*command, "--overwrite", "--num-frames", 2).returncode == 0
    assert output.read_bytes() != before


def test_stdout_by_dash(cli: Cli, folder: Path) -> None:
    done = cli("score", folder / "a.png", "--prompt", "x", *MODEL, "-o", "-", "--quiet")
    assert lines(done.stdout)[0]["id"] == "a.png"


def test_prompts_from_folders(cli: Cli, tmp_path: Path) -> None:
    for name in ("a_red_cat", "two dogs"):
        (tmp_path / name).mkdir()
        picture().save(tmp_path / name / "1.png")
    done = cli("score", tmp_path, "--prompt-from", "folder", *MODEL)
    assert [row["prompt"] for row in lines(done.stdout)] == ["a red cat", "two dogs"]


def test_bad_items_cost_their_rows_only(cli: Cli, tmp_path: Path) -> None:
    kinds = bad_media(tmp_path / "in")
    picture().save(tmp_path / "in" / "good.png")
    clip(tmp_path / "in" / "good.mp4")
    done = cli("score", tmp_path / "in", "--prompt", "x", *MODEL)
    assert done.returncode == 3
    rows = {row["id"]: row for row in lines(done.stdout)}
    assert rows["good.png"]["status"] == rows["good.mp4"]["status"] == "ok"
    assert {n: r["error_type"] for n, r in rows.items() if r["status"] == "error"} == kinds
    assert all(name in rows[name]["error"] for name in kinds)
    assert f"2 scored, {len(kinds)} errors" in done.stderr


def test_missing_and_empty_prompts_cost_their_rows_only(cli: Cli, folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "c.txt").write_text("\n")
    done = cli("score", folder, "--prompt-from", "sidecar", *MODEL)
    assert done.returncode == 3
    kinds = [row["error_type"] for row in lines(done.stdout)]
    assert kinds == ["PromptError", "EmptyPromptError", None]


def test_nothing_scored_is_fatal(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    assert cli("score", tmp_path, "--prompt", "x", *MODEL).returncode == 1


def test_long_prompts_are_that_rows_error(cli: Cli, folder: Path) -> None:
    (folder / "a.txt").write_text("word " * 3000)
    done = cli("score", folder, "--prompt-from", "sidecar", *MODEL)
    assert [row["error_type"] for row in lines(done.stdout)] == ["PromptTooLongError", None, None]
    more = cli("score", folder, "--prompt-from", "sidecar", *MODEL, "--max-prompt-tokens", 99999)
    assert more.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("score", "gone.png", "--prompt", "x"), "no such file or folder: gone.png"),
        (("score", ".", "--prompt", "x"), "nothing to score"),
        (("score", "x.png"), "--prompt-from sidecar"),
        (("score", "x.png", "--prompt", " "), "the prompt is empty"),
        (("score", "x.png", "--prompt", "x", "--prompt-from", "folder"), "not both"),
        (
            ("score", "x.png", "--prompt", "x", "-o", "x.csv"),
            "use .parquet, .jsonl, or - for stdout",
        ),
        (("score", "x.png", "--prompt", "x", "--batch-size", "0"), "--batch-size"),
        (("score",), "Missing argument"),
    ],
)
def test_usage_errors(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "x.png" in arguments:
        picture().save(tmp_path / "x.png")
    else:
        (tmp_path / "notes.md").write_text("x")
    done = cli(*arguments, *MODEL)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--dtype", "int4"), "'int4' is not one of 'auto', 'float32', 'bfloat16', 'float16', "),
        (("--batch-size", "0"), "Invalid value for '--batch-size'"),
        (("--nothing",), "No such option: --nothing"),
    ],
)
def test_an_invalid_option_is_one_line(cli: Cli, arguments: tuple, problem: str) -> None:
    done = cli("score", ".", "--prompt", "x", *arguments, COLUMNS="40")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert problem in first
    assert second.startswith("hint: Run: ")
    assert second.endswith("score --help")


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("mps", "mps is not available on this machine (MPS needs a Mac with an Apple GPU)"),
        ("cuda:77", "cuda:77 is not available on this machine ("),
        ("xla", "xla is not available on this machine (unsupported by this PyTorch build)"),
        ("meta", "meta is not available on this machine (meta tensors hold no data)"),
        ("abacus", "expected auto, cpu, cuda, cuda:N or mps, got 'abacus'"),
    ],
)
def test_devices_that_are_not_there(cli: Cli, folder: Path, device: str, problem: str) -> None:
    if device == "mps" and torch.backends.mps.is_built():
        pytest.skip("this machine has MPS")
    done = cli("score", folder, "--prompt", "x", *MODEL, "--device", device)
    assert done.returncode == 2
    first, *hint = done.stderr.splitlines()
    assert first.startswith(f"error: --device: {problem}")
    assert len(first) < 120
    assert hint == ["hint: Use --device auto or --device cpu."] * ("available" in problem)


@pytest.mark.parametrize(
    ("name", "dtype"), [("bf16", "bfloat16"), ("fp32", "float32"), ("float32", "float32")]
)
def test_short_names_of_dtypes_are_the_long_ones(cli: Cli, name: str, dtype: str) -> None:
    done = cli("info", *MODEL, "--json", "--dtype", name)
    assert lines(done.stdout)[0]["dtype"]["value"] == dtype


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nobody/nothing", "HF_HUB_OFFLINE"),
        ("no-such-folder", "neither a folder nor a hub id"),
    ],
)
def test_models_that_are_not_there(cli: Cli, folder: Path, model: str, words: str) -> None:
    done = cli("score", folder, "--prompt", "x", "--model", model)
    assert done.returncode == 1
    assert words in done.stderr
    assert "hint: " in done.stderr
