"""Output files: columns, types, settings, and what an interrupted write leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import MEDIA
from librehps import Item, LibreHPS
from librehps.errors import OutputError, UsageError
from librehps.files import printable
from librehps.scores.columns import default_columns
from librehps.scores.row import to_record
from librehps.scores.writer import check_output, open_sink


@pytest.fixture(scope="module")
def records(golden: LibreHPS) -> list[dict]:
    names = ["clip8.mp4", "small.png", "gone.png"]
    items = [Item(name, MEDIA / name, "a 猫", group="g") for name in names]
    return [to_record(row, golden.settings) for row in golden.score_items(items)]


def test_columns_are_the_promised_ones(records: list[dict]) -> None:
    axes = ["overall", "alignment", "coherence", "style", "temporal"]
    promised = [
        *["id", "media", "kind", "prompt", "group", *axes, *(f"{a}_mu" for a in axes)],
        *["width", "height", "frames", "status", "error_type", "error", "settings"],
    ]
    assert list(default_columns()) == promised
    assert all(list(record) == promised for record in records)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_what_is_written_reads_back(
    tmp_path: Path, records: list[dict], golden: LibreHPS, suffix: str
) -> None:
    output = tmp_path / f"x{suffix}"
    with open_sink(output, golden.settings) as sink:
        for record in records:
            sink.write(record)
    if suffix == ".parquet":
        table = pq.read_table(output)
        back = table.to_pylist()
        settings = json.loads(table.schema.metadata[b"librehps.settings"])
    else:
        back = [json.loads(line) for line in output.read_text().splitlines()]
        settings = json.loads((tmp_path / "x.jsonl.settings.json").read_text())
        assert settings.pop("place")["output"] == str(tmp_path)
    assert settings == golden.settings.record()
    assert [row["status"] for row in back] == ["ok", "ok", "error"]
    for row, record in zip(back, records, strict=True):
        assert list(row) == list(record)
        for name, value in record.items():
            as_float32 = np.float32(value) if isinstance(value, float) else value
            assert row[name] == value or np.float32(row[name]) == as_float32, name
    assert back[0]["temporal"] is not None
    assert back[0]["frames"] == list(range(8))
    assert back[1]["temporal"] is None
    assert back[2]["error_type"] == "MediaNotFoundError"
    assert back[2]["overall_mu"] is None
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".partial"] == []


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_interrupted_write_keeps_its_rows_aside(
    tmp_path: Path, records: list[dict], golden: LibreHPS, suffix: str
) -> None:
    output = tmp_path / f"x{suffix}"
    with pytest.raises(KeyboardInterrupt), open_sink(output, golden.settings) as sink:
        sink.write(records[0])
        raise KeyboardInterrupt
    assert not output.exists()
    partial = tmp_path / f"x{suffix}.partial"
    if suffix == ".parquet":
        assert pq.read_table(partial).num_rows == 1
    else:
        assert len(partial.read_text().splitlines()) == 1


def test_outputs_that_cannot_be(tmp_path: Path, golden: LibreHPS) -> None:
    with pytest.raises(UsageError, match=r"use \.parquet, \.jsonl"):
        check_output(tmp_path / "x.csv", overwrite=False)
    with pytest.raises(UsageError, match="does not exist"):
        check_output(tmp_path / "no" / "x.jsonl", overwrite=False)
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(UsageError, match="exists") as raised:
        check_output(tmp_path / "x.jsonl", overwrite=False)
    assert "--overwrite" in (raised.value.hint or "")
    check_output(tmp_path / "x.jsonl", overwrite=True)
    for suffix in (".jsonl", ".parquet"):
        (tmp_path / f"y{suffix}.partial").mkdir(exist_ok=True)
        sink = open_sink(tmp_path / f"y{suffix}", golden.settings)
        with pytest.raises(OutputError, match="cannot be written"), sink:
            pass


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_full_disk_is_said(
    tmp_path: Path, records: list[dict], golden: LibreHPS, suffix: str
) -> None:
    output = tmp_path / f"x{suffix}"
    (tmp_path / f"x{suffix}.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space"), open_sink(output, golden.settings) as sink:
        for record in records:
            sink.write(record)
    assert not output.exists()


def test_undecodable_names_become_text() -> None:
    assert printable("a\udcff.png") == "a%FF.png"
    assert printable("猫.png") == "猫.png"
    assert printable("a\ud800b") == "a?b"


@pytest.mark.parametrize("prompt", [float("nan"), 7, b"a cat", ["a cat"]])
def test_a_prompt_that_is_no_text_is_an_error_row(golden: LibreHPS, prompt: Any) -> None:
    item = Item("a", MEDIA / "small.png", prompt, group=prompt)
    [row] = golden.score_items([item])
    record = to_record(row, golden.settings)
    assert record["error_type"] == "PromptError" and "expected text" in record["error"]
    assert record["prompt"] == record["group"] == str(prompt)
