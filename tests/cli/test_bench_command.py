"""librehps bench."""

import json
import math

import pytest

from conftest import CHECKPOINT, Cli

SMALL = ("--quick", "--images", 2, "--size", "192x160")


@pytest.mark.slow
def test_one_object_of_figures(cli: Cli) -> None:
    """Print an object in JSON; a config overrides the model of the environment."""
    words = ("bench", "--config", "tiny", "--quick", "--json", "--device", "cpu")
    done = cli(*words, LIBREHPS_MODEL="absent")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["machine"]["device"] == "cpu" and record["machine"]["name"]
    assert record["machine"]["threads"] >= 1 and record["machine"]["torch"]
    assert record["model"]["name"] == "random-tiny"
    assert (record["model"]["dtype"], record["model"]["attention"]) == ("float32", "sdpa")
    assert record["images"]["model_width"] == 128
    rates = [record["matmul_gflops"], record["write_rows_per_s"]]
    rates += [record["decode"]["one_thread"], record["decode"]["all_workers"]]
    assert all(rate > 0 for rate in rates) and record["transfer"] is None
    for row in (*record["forward"], record["end_to_end"]):
        gflops = row["images_per_s"] * record["gflop_per_image"]
        assert row["gflops"] == pytest.approx(gflops) and gflops > 0
        assert row["share_of_matmul"] == pytest.approx(gflops / record["matmul_gflops"])
    by_dtype = record["matmul_gflops_by_dtype"]
    assert by_dtype.keys() == {"float32", "bfloat16"} and min(by_dtype.values()) > 0
    assert by_dtype[record["faster_dtype"]] == max(by_dtype.values())
    best = max(record["forward"], key=lambda row: row["images_per_s"])
    assert record["best_batch_size"] == best["batch_size"]
    cores = math.ceil(best["images_per_s"] / record["decode"]["one_thread"])
    assert record["decode_cores"] == cores
    assert record["end_to_end"]["errors"] == 0 and record["notes"] == []


@pytest.mark.slow
def test_table_of_a_checkpoint(cli: Cli) -> None:
    done = cli("bench", "--model", CHECKPOINT, *SMALL, "--batch-sizes", "3", "--table", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "checkpoint",
        "decode, one core",
        "transfer",
        "end to end, batch 2",
        "of matmul",
        "faster dtype",
    ):
        assert words in done.stdout
    assert "needed to decode as fast as the forward pass." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "1024"), "--size: expected WIDTHxHEIGHT, got '1024'"),
        (("--size", "3000x10"), "unsupported aspect ratio"),
        (("--size", "60000x60000"), "too large"),
        (("--size", "0x10"), "1 or more"),
        (("--batch-sizes", "1,x"), "--batch-sizes: expected N,N,..., got '1,x'"),
        (("--batch-sizes", "0,4"), "1 or more"),
        (("--images", "0"), "--images"),
        (("--format", "webp"), "--format"),
        (("--config", "5b"), "--config"),
        (("--model", "tiny"), "--model: unsupported here"),
        (("--download",), "--download: unsupported here"),
        (("--num-frames", "4"), "No such option: --num-frames"),
        (("--device", "nowhere"), "nowhere"),
    ],
)
def test_bad_arguments(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("bench", "--config", "tiny", "--quick", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
