"""A folder of hundreds of bad files: each costs its own row, and no name or content more."""

import json
import os
import subprocess
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import forks
from bad_media import OK, bad_kinds, write_bad_folder

pytestmark = pytest.mark.slow

Folder = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("bad")
    return folder, write_bad_folder(folder)


def score(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, with every byte as it came."""
    command = ("score", folder, "--prompt", "x", "--model", "tiny", *arguments)
    done = subprocess.run(
        [*forks.librehps(), *map(str, command)],
        capture_output=True,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the outcome of each id; every id must be unique."""
    assert [name for name, count in Counter(row["id"] for row in rows).items() if count > 1] == []
    return {row["id"]: OK if row["status"] == "ok" else row["error_type"] for row in rows}


def differences(rows: list[dict[str, Any]], expected: dict[str, str]) -> list[tuple[str, ...]]:
    """(id, expected, what came) of each that came otherwise."""
    found = outcomes(rows)
    assert found.keys() == expected.keys()
    return [(name, kind, found[name]) for name, kind in expected.items() if found[name] != kind]


def test_the_folder_is_as_promised(bad: Folder) -> None:
    counts = Counter(bad[1].values())
    assert counts.total() - counts[OK] == 500
    assert counts[OK] >= 36
    assert len(bad_kinds()) >= 30


def test_parquet(bad: Folder, tmp_path: Path) -> None:
    folder, expected = bad
    code, out, talk = score(folder, "-o", tmp_path / "out.parquet", "--quiet")
    assert (code, out) == (3, ""), talk[-2000:]
    assert "Traceback" not in talk
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert differences(rows, expected) == []
    for row in rows:
        assert (row["overall"] is None) == (row["status"] == "error") == bool(row["error"])


def test_json_lines(bad: Folder) -> None:
    folder, expected = bad
    code, out, talk = score(folder)
    assert code == 3, talk[-2000:]
    assert "Traceback" not in talk
    assert out.endswith("\n")
    # Split at the line feed alone: JSON leaves other line ends, such as U+2028, as they are.
    rows = [json.loads(line, parse_constant=pytest.fail) for line in out[:-1].split("\n")]
    assert differences(rows, expected) == []
    assert f"{Counter(expected.values())[OK]} scored, 500 errors" in talk


def test_table(bad: Folder) -> None:
    """Names and messages are shown as they are, but for what could steer a terminal."""
    folder, expected = bad
    code, out, talk = score(folder, "--table")
    assert code == 3, talk[-2000:]
    for shown in (out, talk):
        assert "Traceback" not in shown
        controls = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs")}
        assert controls <= {"\n"}
    assert out.count("\n") > Counter(expected.values())[OK]
    assert sum(line.startswith("error: ") for line in talk.split("\n")) == 500
    assert "[/red]" in talk
    assert "\\x1b[31m" in talk
