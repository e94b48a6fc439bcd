"""Rows of manifests become items."""

import json
import re
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
    (tmp_path / "m.csv").write_text("image,librehps.index\na.png,x\n")
    with pytest.raises(UsageError, match=r"column 'librehps\.index' conflicts"):
        items_of(tmp_path / "m.csv")
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
    rows[0]["cfg"] = 3
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match="line 2: --rename gives two columns the name 'cfg'"):
        items_of(file, columns=ColumnOptions(rename={"seed": "cfg"}))
    rows[1] |= {"status": "mine", "my_status": 1, "width": 3}
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match="line 2: columns 'status', 'width' conflict") as raised:
        items_of(file)
    assert "--rename status=my_my_status --rename width=my_width" in (raised.value.hint or "")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_ids_groups_and_prompts_that_only_later_rows_have(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"m{suffix}"

    def write(*rows: dict[str, str]) -> None:
        lines = list(map(json.dumps, rows))
        file.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]")

    write({"image": "a.png"}, {"image": "b.png", "id": "k", "group": "g", "prompt": "p"},
          {"image": "c.png"})  # fmt: skip
    source = Source([str(file)], SourceOptions())
    found = [(i.id, i.group, i.prompt, i.extra) for i in source.items()]
    assert found == [("a.png", None, None, {}), ("k", "g", "p", {}), ("c.png", None, None, {})]
    assert not source.has_prompts
    assert Source([str(file)], SourceOptions(ColumnOptions(prompt="prompt"))).has_prompts
    kept = items_of(file, columns=ColumnOptions(rename={"id": "key"}))
    assert [i.extra for i in kept] == [{}, {"key": "k"}, {}]
    write({"image": "a.png", "caption": "x"}, {"image": "b.png", "prompt": "p"})
    with pytest.raises(UsageError, match=r"2: the prompt is read from column 'caption', so column"):
        items_of(file)


@pytest.mark.parametrize(
    ("header", "media", "prompt"),
    [
        ("Image,PROMPT", "a.png", "x"),
        ("image , prompt ", "a.png", "x"),
        ("Image, Prompt", "a.png", "x"),
        ("image,Prompt,text", "a.png", "t"),
        ("image,text_prompt,negative_prompt", "a.png", None),
        ("image,Prompt, prompt", "a.png", None),
        ("image,ID,prompt", "a.png", "t"),
    ],
)
def test_names_in_another_case(tmp_path: Path, header: str, media: str, prompt: str | None) -> None:
    """Without an exact name, of media and prompts alone, and never of two columns one."""
    file = tmp_path / "m.csv"
    blank = " " if ", " in header else ""
    file.write_text(f"{header}\n{media},{blank}x{',t' * (header.count(',') - 1)}\n")
    source = Source([str(file)], SourceOptions())
    [item] = source.items()
    assert (item.id, item.media, item.prompt) == (media, str(tmp_path / media), prompt)
    if prompt is not None:
        return
    columns = re.escape("columns: image, text_prompt, negative_prompt")
    with pytest.raises(UsageError, match=f"{columns}|columns: image, Prompt, ' prompt'") as raised:
        source.check_prompts(None, None)
    name = "text_prompt" if "text" in header else "NAME"
    assert f"--prompt-column {name};" in (raised.value.hint or "")


@pytest.mark.parametrize("text", ['{"a.png": "x"}', '{\n"images": [1]}', "3", '"x"', ""])
def test_a_json_file_that_is_no_array(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"m\.json: expected a JSON array of objects") as raised:
        items_of(file)
    assert "[{...}, {...}]" in (raised.value.hint or "")
    # As a pattern of a shell gives it: one row.
    (tmp_path / "a.png").write_bytes(b"x")
    assert len(items_of(tmp_path / "a.png", file)) == 2


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
