"""`benchmarks/scale.py` at a size that only shows that every term is measured."""

from pathlib import Path

import pytest

import scale
from constant_model import write_manifest
from scale_tasks import MANIFEST, TASKS, measure


def test_every_term_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, found = 300, {"terms": {}, "disk": {}}
    write_manifest(tmp_path / MANIFEST, rows, random_ids=True)
    for task in TASKS:
        for name, values in measure(task, tmp_path, rows, "jsonl").items():
            found[name] |= values
    assert all(term["us"] >= 0 for term in found["terms"].values())
    assert found["disk"]["output"] > 0
    scale.print_terms([rows], [scale.joined([found, found])])
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in (*found["terms"], *found["disk"]))
