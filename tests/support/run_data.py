"""A folder to be scored, and what its rows must be whichever way a run went."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import in_process
from librehps.runs.journal import Journal
from librehps.scores.markers import journal_folder
from make_media import clip, picture

MODEL = ("--model", "tiny", "--batch-size", "3", "--quiet")
NUMBERS = ("overall", "overall_mu", "style_mu")


def write_folder(media: Path) -> Path:
    """29 pictures, a clip, and two files that are none."""
    for index in range(29):
        picture(64 + 16 * (index % 5), 96, seed=index).save(media / f"{index:02}.png")
    clip(media / "clip.mp4")
    (media / "empty.png").write_bytes(b"")
    (media / "text.jpg").write_text("no picture")
    return media


def undisturbed(folder: Path, output: Path) -> list[dict]:
    """Rows of a run that nothing disturbed."""
    done = in_process.run(("score", folder, "--prompt", "x", *MODEL, "-o", output))
    assert done.returncode == 3, done.stderr
    return rows_of(output)


def rows_of(output: Path) -> list[dict]:
    if output.suffix == ".parquet":
        return pq.read_table(output).to_pylist()
    return [json.loads(line) for line in output.read_text().splitlines()]


def assert_same(rows: list[dict], expected: list[dict]) -> None:
    """Order and every column, numbers within what a batch may change."""
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name in NUMBERS:
            assert (row[name] is None) == (other[name] is None)
            assert row[name] == pytest.approx(other[name], abs=2e-3)
        fixed = [name for name in row if not name.endswith("_mu") and name not in (
            "overall", "alignment", "coherence", "style", "temporal")]  # fmt: skip
        assert [row[name] for name in fixed] == [other[name] for name in fixed]


def journal_rows(output: Path) -> int:
    """Return the number of rows in the journal of an unfinished run."""
    journal = Journal(journal_folder(output))
    journal.open()
    _, ok, failed = journal.counts()
    journal.close()
    return ok + failed
