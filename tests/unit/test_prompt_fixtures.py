"""Files with the structure of many tools: the prompt of each, or an error that says why not."""

import json
from pathlib import Path

import pytest

from librehps.errors import PromptError
from librehps.items.prompts import find_prompts
from librehps.media.media import Media
from librehps.media.videos import VideoReader
from librehps.types import Item

FOLDER = Path(__file__).parents[1] / "data" / "prompts"
ROWS = [json.loads(line) for line in (FOLDER / "fixtures.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def reader() -> VideoReader:
    return VideoReader()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_files_of_many_tools(row: dict[str, str], reader: VideoReader) -> None:
    path = FOLDER / row["file"]
    finder = find_prompts(None, row["prompt_from"], has_prompts=False)  # type: ignore[arg-type]
    item, content = Item(row["file"], path, None), Media(path, reader)
    if "expected_prompt" in row:
        assert finder(item, content).prompt == row["expected_prompt"]
        return
    with pytest.raises(PromptError, match=r"cannot be told|is a placeholder"):
        finder(item, content)


def test_fixtures_are_complete() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"fixtures.jsonl"}
    assert files == {row["file"] for row in ROWS} | {r["sidecar"] for r in ROWS if "sidecar" in r}
