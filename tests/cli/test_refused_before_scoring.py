"""Refusals that come before media are scored, since scoring may take hours."""

import json
from pathlib import Path

import pytest

from conftest import EXAMPLES, Cli
from librehps import LibreHPS

MEDIA = EXAMPLES / "media"
MODEL = ("-m", "tiny")


@pytest.fixture(autouse=True)
def no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(*_: object, **__: object) -> None:
        raise AssertionError("media are scored")

    monkeypatch.setattr(LibreHPS, "engine", engine)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two judged pairs, and beside them a calibration without a fit, and a manifest."""
    row = {"prompt": "x", "media_a": str(MEDIA / "torn.png"), "media_b": str(MEDIA / "match.png")}
    rows = [{**row, "overall": 1, "note": "n"}, {**row, "overall": 0, "note": "n"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judged = [{**row, "winner": "a"}, {**row, "winner": "b"}]
    (tmp_path / "judged.jsonl").write_text("\n".join(map(json.dumps, judged)))
    item = {"media": row["media_a"], "prompt": "x", "score": 7}
    (tmp_path / "items.jsonl").write_text(json.dumps(item))
    (tmp_path / "empty.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("best-of-n", MEDIA, "-p", "x", "--per", "nosuch"), "no column nosuch; expected one of"),
        (("best-of-n", MEDIA, "-p", "x", "--per-match", "("), "invalid regular expression '('"),
        (("best-of-n", "items.jsonl", "--json"), "columns with reserved names: score"),
        (("best-of-n", MEDIA, "-p", "x", "--calibration", "empty.json"), "missing key `global`"),
        (("compare", MEDIA / "torn.png", MEDIA / "match.png", "-p", "x", "--calibration",
          "empty.json"), "missing key `global`"),
        (("compare", "pairs.jsonl", "--calibration", "empty.json"), "missing key `global`"),
        (("compare", "judged.jsonl"), "columns with reserved names: winner"),
        (("compare", "judged.jsonl", "-o", "out.jsonl"), "columns with reserved names: winner"),
        (("evaluate", "pairs.jsonl", "--calibration", "empty.json"), "missing key `global`"),
    ],
)  # fmt: skip
def test_refused(
    cli: Cli, pairs: Path, monkeypatch: pytest.MonkeyPatch, words: tuple, error: str
) -> None:
    monkeypatch.chdir(pairs)
    done = cli(*words, *MODEL)
    assert done.returncode in (1, 2) and error in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("out.jsonl.journal").exists()
