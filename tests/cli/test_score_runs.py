"""librehps score with an output file: resumed, in shards, with columns of one's own."""

import json
from pathlib import Path

import pytest

from conftest import Cli
from make_media import picture
from run_data import MODEL, assert_same, rows_of


@pytest.mark.slow
def test_errors_are_done_again(tmp_path: Path, cli: Cli) -> None:
    media, output = tmp_path / "m", tmp_path / "x.parquet"
    media.mkdir()
    for index in range(5):
        picture(seed=index).save(media / f"{index}.png")
    good = (media / "3.png").read_bytes()
    (media / "3.png").write_bytes(good[:100])
    arguments = ("score", media, "--prompt", "x", *MODEL, "-o", output)
    assert cli(*arguments).returncode == 3
    before = rows_of(output)
    assert [row["status"] for row in before] == ["ok"] * 3 + ["error", "ok"]
    (media / "3.png").write_bytes(good)
    # What was scored is not looked at again.
    (media / "0.png").write_bytes(b"")
    assert cli(*arguments, "--retry-errors").returncode == 0
    after = rows_of(output)
    assert [row["status"] for row in after] == ["ok"] * 5
    assert [r for r in after if r["id"] != "3.png"] == [r for r in before if r["id"] != "3.png"]
    (media / "new.png").write_bytes(good)
    # Without errors there is nothing to list.
    assert cli(*arguments, "--retry-errors").returncode == 0
    assert rows_of(output) == after


def test_resuming_nothing_begins(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "x.jsonl"
    done = cli("score", run_folder, "--prompt", "x", *MODEL, "-o", output, "--resume")
    assert done.returncode == 3
    assert_same(rows_of(output), whole_run)
    wrong = cli(
        "score", run_folder, "--prompt", "x", *MODEL, "-o", output, "--resume", "--overwrite"
    )
    assert wrong.returncode == 2
    nowhere = cli("score", run_folder, "--prompt", "x", *MODEL, "--resume")
    assert nowhere.returncode == 2
    assert "-o" in nowhere.stderr


def test_columns_and_own_columns(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    row = {
        "image": "a.png",
        "prompt": "x",
        "seed": 7,
        "cfg": 7.123456789,
        "tags": ["a"],
        "ok": True,
    }
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    output = tmp_path / "x.parquet"
    command = ("score", tmp_path / "m.jsonl", *MODEL)
    assert cli(*command, "--columns", "full", "-o", output).returncode == 0
    [found] = rows_of(output)
    assert list(found)[-4:] == ["seed", "cfg", "tags", "ok"]
    assert (found["seed"], found["cfg"], found["tags"], found["ok"]) == (
        7,
        7.123456789,
        '["a"]',
        True,
    )
    assert found["overall_sigma"] > 0
    assert len(found["sha256"]) == 64
    lines = cli(*command, "--columns", "id,overall_mu,seed,cfg")
    assert list(json.loads(lines.stdout)) == ["id", "overall_mu", "seed", "cfg"]
    assert json.loads(lines.stdout)["cfg"] == 7.123456789
    wrong = cli(*command, "--columns", "id,overal")
    assert wrong.returncode == 2
    assert "no column overal" in wrong.stderr


def test_shards_make_a_whole(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli
) -> None:
    rows = []
    for which in (1, 2):
        output = tmp_path / f"{which}.parquet"
        done = cli(
            "score", run_folder, "--prompt", "x", *MODEL, "--shard", f"{which}/2", "-o", output
        )
        assert done.returncode in (0, 3), done.stderr
        rows += rows_of(output)
    assert_same(
        sorted(rows, key=lambda row: row["id"]), sorted(whole_run, key=lambda row: row["id"])
    )


@pytest.mark.slow
def test_an_output_is_resumed_as_what_it_was(run_folder: Path, tmp_path: Path, cli: Cli) -> None:
    output = tmp_path / "x.jsonl"
    picture().save(tmp_path / "a.png")
    arguments = ("score", tmp_path / "a.png", *MODEL, "-o", output)
    assert cli(*arguments, "--prompt", "x").returncode == 0
    before = output.read_bytes()
    for other, words in [
        (("--prompt", "y"), "prompt 'x', now 'y'"),
        (("--prompt", "x", "--num-frames", 2), "num_frames 4, now 2"),
        (("--prompt", "x", "--weights", "int8"), "weights full, now int8"),
        (("--prompt", "x", "--background", "black"), "background white, now black"),
        (("--prompt", "x", "--no-color-management"), "color_management True, now False"),
    ]:
        for way in ("--resume", "--retry-errors"):
            done = cli(*arguments, *other, way)
            assert done.returncode == 2
            assert words in done.stderr
    done = cli(*arguments, "--prompt", "x", "--retry-errors", "--columns", "full")
    assert done.returncode == 2
    assert "columns not found" in done.stderr
    assert cli(*arguments, "--prompt", "x", "--resume").returncode == 0
    assert output.read_bytes() == before
    itself = cli("score", output, *MODEL, "-o", output, "--overwrite")
    assert itself.returncode == 2
    assert "is both an input and the output" in itself.stderr
    assert output.read_bytes() == before


@pytest.mark.slow
def test_odd_values_of_own_columns_reach_every_output(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    values = [{"n": 2**60 + 1, "t": "a\ud83d", "m": 2}, {"n": 1.5, "t": "b", "m": "a"},
              {"n": 2**80, "t": None, "m": None}]  # fmt: skip
    names = ["a.png", "x\0.mp4", "\ud83d.mp4"]
    rows = [{"id": str(at), "image": n, "prompt": "x", **v}
            for at, (n, v) in enumerate(zip(names, values, strict=True))]  # fmt: skip
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("x.parquet", "x.jsonl"):
        done = cli("score", tmp_path / "m.jsonl", *MODEL, "-o", tmp_path / name)
        assert done.returncode == 3, done.stderr
        found = rows_of(tmp_path / name)
        assert [row["status"] for row in found] == ["ok", "error", "error"]
        assert [row["n"] for row in found] == [str(2**60 + 1), "1.5", str(2**80)]
        assert [row["m"] for row in found] == ["2", "a", None]
        assert cli("filter", tmp_path / name, "--ok-only").returncode == 0
