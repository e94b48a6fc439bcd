"""Rows of manifests become items."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import MediaError, PromptError, UsageError
from librehps.items.rows import ColumnOptions
from librehps.items.source import Source, SourceOptions
from librehps.media.archived import ParquetCell, Remote
from librehps.media.media import Media
from source_items import items_of

ROWS = [
    {"image": "a.png", "caption": "a cat", "seed": 7, "note": "x, y"},
    {"image": "sub/b.mp4", "caption": None, "seed": 8, "note": None},
]


def write_manifest(file: Path) -> None:
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        comma = "\t" if file.suffix == ".tsv" else ","
        quoted = '"x, y"'
        lines = [["image", "caption", "seed", "note"], ["a.png", "a cat", "7", quoted],
                 ["sub/b.mp4", "", "8", ""]]  # fmt: skip
        file.write_text("\n".join(comma.join(line) for line in lines))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_manifests(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"m{suffix}"
    write_manifest(file)
    source = Source([str(file)], SourceOptions())
    assert source.has_prompts
    one, two = source.items()
    assert (one.id, one.media, one.prompt, one.kind) == (
        "a.png", str(tmp_path / "a.png"), "a cat", "image",
    )  # fmt: skip
    assert (two.id, two.prompt, two.kind) == ("sub/b.mp4", None, "video")
    seed = "7" if suffix in (".csv", ".tsv") else 7
    assert one.extra == {"seed": seed, "note": "x, y"}
    kind = "text" if suffix in (".csv", ".tsv") else "long"
    assert source.facts()["own_columns"] == {"seed": kind, "note": "text"}


def test_columns_by_flag(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    rows = [{"f": "a.png", "p": "x", "k": 3, "g": "G", "overall": 1.5, "list": [1, {"a": 2}]}]
    file.write_text(json.dumps(rows[0]))
    columns = ColumnOptions("f", "p", "k", "g", {"overall": "theirs"})
    [item] = items_of(file, columns=columns, root="/data")
    assert (item.id, item.media, item.prompt, item.group) == ("3", "/data/a.png", "x", "G")
    assert item.extra == {"theirs": 1.5, "list": '[1, {"a": 2}]'}
    with pytest.raises(UsageError, match="'overall' conflicts") as raised:
        items_of(file, columns=ColumnOptions("f", "p", "k", "g"))
    assert "--rename overall=" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="no media column; columns: f, p"):
        items_of(file)
    (tmp_path / "m.csv").write_text("f,p\na.png,x\n")
    with pytest.raises(UsageError, match=r"no column 'z' \(--prompt-column\)"):
        items_of(tmp_path / "m.csv", columns=ColumnOptions("f", "z"))


def test_fields_that_only_later_rows_have(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "prompt": "x"}, {"image": "b.png", "prompt": "y", "seed": 7}]
    file = tmp_path / "m.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    source = Source([str(file)], SourceOptions())
    assert [item.extra for item in source.items()] == [{}, {"seed": 7}]
    assert source.facts()["own_columns"] == {"seed": "long"}
    rows[1]["status"] = "mine"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match="line 2: column 'status'"):
        items_of(file)


def test_ids_must_differ(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text("image,prompt\na.png,x\n./a.png,y\n")
    with pytest.raises(UsageError, match=r"duplicate id 'a\.png'") as raised:
        items_of(file)
    assert "--id-column" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no rows"), ("{", "invalid JSON"), ("[1]", "expected a JSON object")],
)
def test_manifests_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UsageError, match=words):
        items_of(tmp_path / "m.jsonl")
    (tmp_path / "m.parquet").write_text(text)
    with pytest.raises(UsageError, match="cannot be read"):
        items_of(tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text("image,prompt\na.png\n")
    with pytest.raises(UsageError, match="line 2: got 1 fields, expected 2"):
        items_of(tmp_path / "m.csv")


def test_rows_without_media_or_with_odd_prompts_are_problems(tmp_path: Path) -> None:
    rows = [{"image": None, "prompt": "x", "id": "1"}, {"image": "a.png", "prompt": 3, "id": "2"},
            {"image": "s3://b/a.png", "prompt": "x", "id": "3"}]  # fmt: skip
    file = tmp_path / "m.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    one, two, three = items_of(file)
    assert isinstance(one.problem, MediaError)
    assert "line 1: column 'image' has no media" in str(one.problem)
    assert isinstance(two.problem, PromptError)
    assert "--allow-remote" in str(three.problem)
    assert items_of(file, allow_remote=True)[2].media == Remote("s3://b/a.png")


def test_parquet_with_bytes(tmp_path: Path) -> None:
    """Two hundred cells, in row groups of 30, read out of order as threads would."""
    rows = [{"image": {"bytes": bytes([i]) * (i + 1), "path": f"{i}.png"}, "text": str(i)}
            for i in range(200)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet", row_group_size=30)
    items = items_of(tmp_path / "m.parquet")
    assert [item.id for item in items[:2]] == ["0.png", "1.png"]
    assert [item.prompt for item in items[:2]] == ["0", "1"]
    assert isinstance(items[0].media, ParquetCell)
    for at in (0, 3, 1, 2, 199, 5, 120, 119, 150, 31):
        assert Media(items[at].media).data == bytes([at]) * (at + 1)
    with pytest.raises(MediaError, match="no row"):
        ParquetCell(str(tmp_path / "m.parquet"), "image", 200).read()


def test_parquet_media_whose_paths_repeat_have_their_rows_as_ids(tmp_path: Path) -> None:
    for name, paths in {"a": ["x.png", "y.png"], "b": ["z.png"], "c": ["y.png"]}.items():
        rows = [{"image": {"bytes": b"I", "path": path}, "text": "t"} for path in paths]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    source = Source([str(tmp_path / f"{name}.parquet") for name in "abc"], SourceOptions())
    ids = ["a.parquet/0", "a.parquet/1", "z.png", "c.parquet/0"]
    assert [item.id for item in source.items()] == ids
