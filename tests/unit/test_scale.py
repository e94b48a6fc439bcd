"""`benchmarks/scale.py` at a size that only shows that every term is measured."""

from pathlib import Path

import pytest

import scale
import scale_terms


def test_every_term_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scale_terms.measure(tmp_path, 1500, True, "jsonl")
    assert all(term["us"] >= 0 for term in found["terms"].values())
    assert found["disk"]["output"] > 0
    scale.print_terms([1500], [found])
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in (*found["terms"], *found["disk"]))
