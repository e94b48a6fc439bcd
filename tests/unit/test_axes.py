"""A checkpoint with axes of its own: its config alone says so, and everything follows."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import CHECKPOINT, MEDIA
from librehps import Item, LibreHPS
from librehps.errors import CheckpointError
from librehps.models.families import open_checkpoint
from librehps.scores.columns import full_columns
from librehps.scores.read import read_table
from librehps.scores.row import to_full_record
from librehps.scores.writer import open_sink

SIX = ("overall", "alignment", "coherence", "style", "temporal", "realism")


def with_axes(folder: Path, axes: object) -> Path:
    """The golden checkpoint with other axes in its config, and two more outputs of its head."""
    shutil.copytree(CHECKPOINT, folder)
    config = json.loads((folder / "config.json").read_text())
    config["librehps"] = {**config.get("librehps", {}), "axes": axes}
    (folder / "config.json").write_text(json.dumps(config))
    for shard in folder.glob("*.safetensors"):
        tensors = load_file(shard)
        for name in [n for n in tensors if n.startswith("multi_axis_head.proj.5.")]:
            tensors[name] = torch.cat([tensors[name], tensors[name][:2]])
        save_file(tensors, shard)
    return folder


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> LibreHPS:
    folder = with_axes(tmp_path_factory.mktemp("axes") / "six", SIX)
    return LibreHPS.from_pretrained(folder, device="cpu", dtype="float32")


def test_a_sixth_axis_is_scored_written_and_read(
    six: LibreHPS, golden: LibreHPS, tmp_path: Path
) -> None:
    items = [Item("a", MEDIA / "small.png", "a cat"), Item("b", MEDIA / "clip8.mp4", "a cat")]
    rows, five = list(six.score_items(items)), list(golden.score_items(items))
    for row, before in zip(rows, five, strict=True):
        assert row.score is not None
        assert before.score is not None
        # The new output repeats that of overall, so that its value is known.
        assert row.score["realism"] == row.score.overall
        for axis in before.score:
            assert row.score[axis].mu == pytest.approx(before.score[axis].mu, abs=2e-3)
    assert [*rows[0].score] == [axis for axis in SIX if axis != "temporal"]  # type: ignore[misc]
    for name in ("x.parquet", "x.jsonl"):
        with open_sink(tmp_path / name, six.settings, full_columns(six.axes)) as sink:
            for row in rows:
                sink.write(to_full_record(row, six.settings))
        table, record = read_table([tmp_path / name])
        assert record["axes"] == list(SIX)
        assert table["realism_mu"].to_pylist() == table["overall_mu"].to_pylist()
        assert table["realism"].type == table["overall"].type
    assert "realism_sigma" in pq.read_schema(tmp_path / "x.parquet").names


def test_other_axes_are_other_settings(six: LibreHPS, golden: LibreHPS) -> None:
    assert six.settings.layout != golden.settings.layout


@pytest.mark.parametrize("axes", [[], ["style"], ["overall", "overall"], ["overall", 3], "overall"])
def test_axes_that_are_none_are_refused(tmp_path: Path, axes: object) -> None:
    folder = with_axes(tmp_path / "c", axes)
    with pytest.raises(CheckpointError, match="axes"):
        _ = open_checkpoint(folder).axes
