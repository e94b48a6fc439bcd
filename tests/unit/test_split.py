"""Shards of a source, and folders of them: read where all are there, refused where not."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import Item
from librehps.errors import UsageError
from librehps.items.source import Source, SourceOptions
from librehps.scores.read import are_scored, read_table
from librehps.scores.shards import in_shard, parse_shard
from librehps.scores.table import write_table

ASKED = {"folder": None, "paths": ["/data"], "prompt": "x"}


def put(file: Path, shard: str | None, *ids: str, part: bool = False, **asked: object) -> None:
    """A scored file that says which shard it is, with a row for each id."""
    request = {**ASKED, **asked, "shard": shard}
    count = len(ids)
    columns = {
        "id": pa.array(ids, pa.string()),
        "status": pa.array(["ok"] * count, pa.string()),
        "overall_mu": pa.array([0.5] * count, pa.float32()),
    }
    if file.suffix == ".jsonl":
        rows = pa.table(columns).to_pylist()
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        record = json.dumps({"model": "m", "request": request})
        file.with_name(file.name + ".settings.json").write_text(record)
        return
    metadata = {"librehps.settings": '{"model": "m"}', "librehps.request": json.dumps(request)}
    if part:
        metadata["librehps.part"] = "{}"
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)


def ids_of(*paths: Path) -> list[str]:
    return read_table(paths)[0]["id"].to_pylist()


def refusal(folder: Path) -> str:
    assert are_scored([str(folder)]), "best-of-n would take it for media"
    with pytest.raises(UsageError) as raised:
        read_table([folder])
    return f"{raised.value} {raised.value.hint}"


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_all_shards_or_none(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{which}{suffix}" for which in (1, 2, 3)]
    put(files[0], "1/3", "a", "b")
    put(files[2], "3/3", "c")
    said = refusal(tmp_path)
    assert f"missing shard 2/3 of the run of 1{suffix}" in said
    assert "--shard 2/3" in said
    assert "nothing is checked" in said
    assert ids_of(files[0], files[2]) == ["a", "b", "c"]
    # A shard that no item fell into counts.
    put(files[1], "2/3")
    assert ids_of(tmp_path) == ["a", "b", "c"]


def test_many_missing_shards_are_not_all_named(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", "1/64", "a")
    assert "shards 2/64, 3/64, 4/64, 5/64, 6/64, 7/64, 8/64, 9/64 and 55 more" in refusal(tmp_path)


def test_one_shard_twice(tmp_path: Path) -> None:
    for name, shard in (("a", "1/2"), ("b", "2/2"), ("c", "2/2")):
        put(tmp_path / f"{name}.parquet", shard, name)
    said = refusal(tmp_path)
    assert "duplicate shard 2/2" in said
    assert f"{tmp_path / 'b.parquet'} and {tmp_path / 'c.parquet'}" in said


def test_shards_of_two_splits(tmp_path: Path) -> None:
    for shard in ("1/2", "2/2", "3/3"):
        put(tmp_path / f"{shard.replace('/', ' of ')}.parquet", shard, shard)
    said = refusal(tmp_path)
    assert "is one of 2" in said
    assert "one of 3" in said


def test_runs_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("aurora", "cirrus"):
        for which in (1, 2):
            put(tmp_path / f"{name}{which}.parquet", f"{which}/2", f"{name}{which}", paths=[name],
                folder=f"/home/machine{which}")  # fmt: skip
    put(tmp_path / "whole.parquet", None, "whole")
    assert len(ids_of(tmp_path)) == 5
    (tmp_path / "cirrus1.parquet").unlink()
    assert "missing shard 1/2 of the run of cirrus2.parquet" in refusal(tmp_path)


def test_parts_of_a_shard_are_not_shards(tmp_path: Path) -> None:
    for first in (0, 64):
        put(tmp_path / f"part-{first:012}.parquet", "3/8", f"{first}", part=True)
    assert ids_of(tmp_path) == ["0", "64"]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_what_a_run_is_still_to_write(tmp_path: Path, suffix: str) -> None:
    journal = tmp_path / f"2{suffix}.journal"
    journal.mkdir()
    assert journal.name in refusal(tmp_path)
    put(tmp_path / "1.parquet", None, "a")
    said = refusal(tmp_path)
    assert f"{tmp_path} is unfinished: it holds journal 2{suffix}.journal" in said
    assert "--resume" in said
    assert ids_of(tmp_path / "1.parquet") == ["a"]
    journal.rmdir()
    assert ids_of(tmp_path) == ["a"]


def test_media_beside_a_journal_stay_media(tmp_path: Path) -> None:
    (tmp_path / "x.parquet.journal").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    assert not are_scored([str(tmp_path)])


def test_a_torn_file_of_a_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path / "1.parquet", "1/2", "a")
    (tmp_path / "2.parquet").write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"2\.parquet cannot be read"):
        read_table([tmp_path])


def test_what_is_chosen_from_all_shards_is_no_shard(tmp_path: Path) -> None:
    shards, chosen = tmp_path / "shards", tmp_path / "chosen"
    shards.mkdir()
    chosen.mkdir()
    for which in (1, 2):
        put(shards / f"{which}.parquet", f"{which}/2", f"{which}")
    table, settings = read_table([shards])
    write_table(table, settings, chosen / "best.parquet")
    assert ids_of(chosen) == ["1", "2"]


def items_of(folder: Path, shard: tuple[int, int]) -> list[Item]:
    return list(Source([str(folder)], SourceOptions(shard=shard)).items())


def test_shards_of_a_source_part_it(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(9)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    parts = [[item.id for item in items_of(tmp_path, (which, 2))] for which in (1, 2)]
    assert sorted([*parts[0], *parts[1]]) == names
    assert all(in_shard(name, 1, 2) for name in parts[0])


def test_how_shards_are_named() -> None:
    assert parse_shard("3/8") == (3, 8)
    for text in ("0/2", "3/2", "x", "1/0"):
        with pytest.raises(UsageError, match="--shard"):
            parse_shard(text)


def test_all_shards_have_the_same_columns(tmp_path: Path) -> None:
    """Each shard has the columns of the whole source, whatever fields its items have."""
    late = [f"late_{letter}" for letter in "qwertyuiop"]
    rows = [{"image": f"{at}.png", "score_x": at} for at in range(50)]
    rows.append({"image": "50.png", "score_x": 0.5, **dict.fromkeys(late, "x")})
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for which in range(1, 5):
        source = Source([str(tmp_path / "m.jsonl")], SourceOptions(shard=(which, 4)))
        assert list(source.items())
        kinds = source.facts()["own_columns"]
        assert list(kinds.items()) == [("score_x", "double"), *((name, "text") for name in late)]


def test_an_empty_shard_is_no_empty_source(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"skipped 1 file: 1 \.txt"):
        items_of(tmp_path, (1, 2))
    (tmp_path / "a.png").write_bytes(b"")
    parts = [items_of(tmp_path, (which, 2)) for which in (1, 2)]
    assert sorted(map(len, parts)) == [0, 1]
