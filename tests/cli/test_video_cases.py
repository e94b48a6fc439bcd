"""Clips that readers get wrong, scored by the command: the right frames, and so the right score."""

import json
from pathlib import Path

import pytest

from conftest import Cli
from streams import numbered

CASES = Path(__file__).parents[1] / "data" / "cases"
PROMPT = "a red circle left of a blue square"


def scored(cli: Cli, *arguments: object) -> tuple[list[dict], str]:
    done = cli("score", *arguments, "--model", "tiny", "--prompt", PROMPT, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_the_score_does_not_depend_on_codec_container_or_pixel_aspect(cli: Cli) -> None:
    """Two scenes: one with open GOPs and B-frames, one with other codecs and pixel aspect."""
    names = ("drift.mp4", "drift.avi", "av1.mp4", "live.webm", "sar2.mp4")
    rows, _ = scored(cli, *(CASES / name for name in names))
    assert [row["overall_mu"] for row in rows] == pytest.approx(
        [-2.236, -2.236, 2.04, 2.04, 2.04], abs=0.01
    )
    assert [row["frames"] for row in rows[:2]] == [[30, 90, 150, 210]] * 2
    assert {(row["width"], row["height"]) for row in rows[2:]} == {(320, 256)}


def test_a_run_counts_videos_of_variable_frame_rate(cli: Cli, tmp_path: Path) -> None:
    """Each is sampled by index as in training; the note names `--sample time`."""
    slow_then_fast = [24 * min(at, 10) + max(0, at - 10) for at in range(30)]
    clips = [numbered(tmp_path / f"{name}.mkv", 30, slow_then_fast) for name in "ab"]
    clips.append(numbered(tmp_path / "steady.mkv", 30))
    rows, said = scored(cli, *clips)
    assert "2 videos have a variable frame rate" in said
    assert rows[0]["frames"] == rows[2]["frames"] == [4, 11, 19, 26]
    rows, said = scored(cli, *clips, "--sample", "time")
    assert "variable" not in said
    assert rows[0]["frames"] == [1, 4, 6, 9]
