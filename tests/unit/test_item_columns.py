"""Manifests listed by columns give the items, the facts and the errors of a listing by items."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import Item, LibreHPS, score_to
from librehps.errors import UsageError
from librehps.items import item_columns
from librehps.items.rows import ColumnOptions
from librehps.items.source import Source, SourceOptions
from librehps.rowfiles import blocks, delimited
from librehps.runs.listed_columns import ListedColumns
from librehps.runs.listing import Listing
from librehps.scores.row_batch import RowSchema
from librehps.types import ScoredRow

CSVS = {
    "plain": "id,image,prompt,seed\n" + "".join(f"{n},a/{n}.png,red {n},{n}\n" for n in range(9)),
    "no ids": "image,prompt\na.png,x\nb.PNG,\nc.webm,z\n\nd,w\ne..png,v\nsub.png/f,u\n",
    "quoted": 'image,prompt\na.png,"red, big"\nb.png,"two\nlines"\nc.png,"a ""b"""\nd.png,x\n',
    "special paths": "image,prompt\n./a.png,x\nb//c.png,y\nhttps://h/d.png,z\n,w\n/e.png,v\n",
    "not ascii": "image,prompt,größe\nä.png,猫,ö\nb.png,x,\n",
    "group": "image,prompt,group,id\na.png,x,g,\nb.png,y,,k\n",
    "header over two lines": '"image","a\nb",prompt\na.png,1,x\nb.png,2,y\n',
    "blank first": "\nimage,prompt\na.png,x\n",
    "spaces": "image,prompt\r\na.png, x \r\nb.png,\ty\r\n",
}
BROKEN = {
    "length": "image,prompt\na.png,x\nb.png\n",
    "stray quote": 'image,prompt\na.png,x\nb.png,"y\nc.png,z"\nd.png,w\n',
    "open quote": 'image,prompt\na.png,x\nb.png,"y\n',
    "NUL": "image,prompt\na.png,x\nb.png,y\0\n",
    "repeated id": "id,image,prompt\n1,a.png,x\n2,b.png,y\n1,c.png,z\n",
    "repeated column": "image,prompt,prompt\na.png,x,y\n",
    "repeated id above an invalid row": "id,image\n1,a.png\n1,b.png\n2\n",
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "READ_CHARS", 20)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    monkeypatch.setattr(item_columns, "BLOCK_ITEMS", 4)


def facts(item: Item) -> dict[str, Any]:
    media = item.media if type(item.media) is not str else Path(item.media)
    return {**vars(item), "media": media, "problem": repr(item.problem)}


def assert_same(paths: list[Path], folder: Path, options: SourceOptions | None = None) -> None:
    options = options or SourceOptions()
    by_item, by_column = (Source(list(map(str, paths)), options) for _ in range(2))
    store = Listing(folder)
    expected = [facts(item) for item in by_item.items()]
    assert store.write(by_column.item_columns()) == len(expected)
    assert [facts(item) for _, item in store.items()] == expected
    assert by_column.facts() == by_item.facts()


@pytest.mark.parametrize("name", CSVS)
def test_csv(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(CSVS[name], newline="")
    assert_same([file], tmp_path)
    assert_same([file], tmp_path, SourceOptions(root="elsewhere"))
    assert_same([file], tmp_path, SourceOptions(shard=(1, 2)))


@pytest.mark.parametrize("name", BROKEN)
def test_an_invalid_manifest_has_the_same_error(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(BROKEN[name], newline="")
    ways: tuple[Callable[[Source], Any], ...] = (Source.items, Source.item_columns)
    errors = []
    for way in ways:
        with pytest.raises(UsageError) as found:
            list(way(Source([str(file)], SourceOptions())))
        errors.append((str(found.value), found.value.hint))
    assert errors[0] == errors[1]


def test_values_of_all_types(tmp_path: Path) -> None:
    values = [1, 2.5, None, True, "x", 2**60, 2**70, float("nan"), [1, "ä"], {"k": 1}, "\ud800"]
    rows = [{"image": f"{n}.png", "prompt": "p", "v": v} for n, v in enumerate(values)]
    rows += [{"image": "y.png", "prompt": 3}, {"image": "z.png", "late": 1, "prompt": "\0"}]
    lines = tmp_path / "x.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert_same([lines], tmp_path)
    for at, column in enumerate(([1, None, 2], [1.5, None, float("inf")], [[1], None, [2]])):
        table = tmp_path / f"{at}.parquet"
        images = [{"path": f"p/{n}.png", "bytes": None} for n in range(3)]
        pq.write_table(pa.table({"image": images, "prompt": ["a", None, "c"], "v": column}), table)
        assert_same([table], tmp_path)
    csv = tmp_path / "x.csv"
    csv.write_text(CSVS["plain"])
    # Chunks of several files, with other own columns.
    rename = SourceOptions(columns=ColumnOptions(rename={"seed": "v"}))
    assert_same([lines, csv, tmp_path / "0.parquet"], tmp_path, rename)


def test_rows_take_their_columns_from_the_listing(tmp_path: Path, tiny: LibreHPS) -> None:
    lines = tmp_path / "x.jsonl"
    own = [{"n": 1, "x": 2, "t": "ä", "m": 1}, {"n": 2, "x": 2.5, "t": None, "m": "2"}]
    rows = [{"image": f"{at}.png", "prompt": "p", **own[at % 2]} for at in range(6)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source, store = Source([str(lines)], SourceOptions()), Listing(tmp_path)
    store.write(source.item_columns())
    schema = RowSchema(tiny.settings, source.facts()["own_columns"])
    listed = ListedColumns(store, schema.listed_types)
    items = [item for _, item in store.items()]
    for indices in ([0, 1, 2, 3, 4, 5], [2, 3], [3, 1]):
        places = np.array(indices)
        scored = [ScoredRow(items[at], "image", None, error=None) for at in indices]
        # The own columns have values of several types.
        assert listed.names(places) == {"id", "media"}
        whole = pa.Table.from_batches([schema.batch(places, scored)])
        stored = pa.Table.from_batches([schema.batch(places, scored, listed.names(places))])
        assert stored["id"].null_count == len(indices)
        assert listed.filled(stored, places, ["id", "media"]).equals(whole)
        assert listed.filled(whole, places, ["id", "media"]) is whole


def test_a_window_has_rows_of_all_kinds(tmp_path: Path, tiny: LibreHPS) -> None:
    """Rows that are never made as objects are those that `score_items` yields."""
    (tmp_path / "broken.png").write_bytes(b"x")
    manifest = tmp_path / "x.csv"
    demo = Path(__file__).parents[2] / "examples/media"
    media = sorted(demo.glob("*.png"))[:3] + sorted(demo.glob("*.mp4"))[:1]
    names = [*map(str, media), "broken.png", "gone.png", str(media[0])]
    manifest.write_text("id,image,prompt\n" + "".join(f"{n},{m},x\n" for n, m in enumerate(names)))
    out = tmp_path / "x.parquet"
    score_to(manifest, out, model=tiny, columns="full", cache="none")
    found = pq.read_table(out).to_pylist()
    for row, record in zip(
        tiny.score_items(Source([str(manifest)], SourceOptions()).items(), cache="none"),
        found,
        strict=True,
    ):
        for name, value in row.to_dict().items():
            if name in record:
                assert record[name] == (pytest.approx(value, abs=1e-5) if name != "id" else value)
