"""The media that a text in the column `media` names."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import MediaError, MediaNotFoundError
from librehps.media.archived import Remote, TarMember
from librehps.media.named import CellOptions, media_named
from travel_data import parquet_of, tar_of


def read(*texts: str, column: str | None = None) -> list[object]:
    """The bytes of each text's media, or the error instead."""
    found = media_named(texts, CellOptions(column))
    contents = []
    for text in texts:
        one = found[text]
        if isinstance(one, Path):
            contents.append(one.read_bytes())
        else:
            contents.append(one if isinstance(one, MediaError) else one.read())
    return contents


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_urls_and_members() -> None:
    Path("a.png").write_bytes(b"a")
    tar_of(Path("x::y.tar"), {"in/m::n.png": b"m"})
    assert read("a.png", "x::y.tar::in/m::n.png") == [b"a", b"m"]
    url = "zip://a.png::s3://bucket/x.zip"
    assert media_named([url]) == {url: Remote(url)}


def test_members_at_urls(tmp_path: Path) -> None:
    tar = tar_of(Path("x.tar"), {"in/a.png": b"a"})
    url = f"file://{tmp_path}/{tar}::in/a.png"
    found = media_named([url, f"file://{tmp_path}/x.tar::no.png"])
    member, missing = found.values()
    assert isinstance(member, TarMember)
    content = tar.read_bytes()
    assert content[member.offset : member.offset + member.size] == b"a"
    assert isinstance(missing, MediaNotFoundError)


def test_an_existing_file_wins() -> None:
    tar_of(Path("x.tar"), {"a.png": b"member"})
    Path("x.tar::a.png").write_bytes(b"file")
    assert read("x.tar::a.png") == [b"file"]


def test_what_is_missing_or_unsure_is_an_error() -> None:
    tar_of(Path("x.tar"), {"a.png": b"a", "./a.png": b"b", "c.png": b"c"})
    Path("two.tar").write_bytes(Path("x.tar").read_bytes() * 2)
    Path("cut.tar").write_bytes(Path("x.tar").read_bytes()[:1600])
    Path("z.parquet").write_bytes(b"PAR1")
    no, twice, gone, cut, whole, torn = read(
        "x.tar::no.png", "two.tar::c.png", "gone.tar::a.png", "cut.tar::c.png", "x.tar::./a.png",
        "z.parquet::a.png",
    )  # fmt: skip
    assert isinstance(no, MediaNotFoundError)
    assert isinstance(gone, MediaNotFoundError)
    assert "names several media, so the scored one is unknown" in str(twice)
    assert "cut short" in str(cut)
    assert whole == b"b"
    assert "z.parquet cannot be read" in str(torn)


def test_cells_by_path_and_by_row() -> None:
    parquet_of(
        Path("y.parquet"), [("a", b"0"), ("b", b"1"), ("b", b"2"), (None, b"3"), ("c", None)]
    )
    Path("c").write_bytes(b"beside")
    texts = ("a", "1/b", "2/b", "3", "c", "b")
    *contents, twice = read(*(f"y.parquet::{text}" for text in texts))
    assert contents == [b"0", b"1", b"2", b"3", b"beside"]
    assert isinstance(twice, MediaError)


def test_the_column_of_the_run_or_the_only_one() -> None:
    table = pa.table({"mask": [b"m"], "shot": [b"s"], "more": [[b"x", b"y"]]})
    pq.write_table(table, "y.parquet")
    assert read("y.parquet::0", column="shot") == [b"s"]
    assert read("y.parquet::0", column="more[1]") == [b"y"]
    [unsure] = read("y.parquet::0")
    assert "no media column (columns with bytes: mask, shot, more)" in str(unsure)
    pq.write_table(table.select(["shot"]), "z.parquet")
    assert read("z.parquet::0") == [b"s"]
