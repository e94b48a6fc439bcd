"""Scored files and tables of numbers, joined by content and prompt."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import librehps
from librehps.decide import gathered, join_keys
from librehps.decide.join_source import parse_source
from librehps.errors import NothingScoredError, UsageError
from librehps.scores import read, scored_file
from two_models import ROWS, put, scored


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    if name not in table.column_names:
        return table.append_column(name, values)
    return table.set_column(table.column_names.index(name), name, values)


def mus(table: librehps.ScoreTable, name: str) -> dict[str, Any]:
    return {row["id"]: row[name] for row in table.rows()}


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return put(tmp_path, "one.parquet", scored(0))


@pytest.fixture
def other() -> pa.Table:
    """The second model's rows, in another order."""
    order = np.random.default_rng(3).permutation(ROWS)
    return scored(1, 10, "two/second").take(pa.array(order))


@pytest.mark.parametrize("is_small", [True, False])
def test_rows_are_joined_by_media_and_prompt(
    one: Path, other: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    if not is_small:
        monkeypatch.setattr(read, "MAX_BYTES_IN_MEMORY", 0)
        monkeypatch.setattr(gathered, "MAX_COLUMN_BYTES", 0)
        monkeypatch.setattr(scored_file, "BATCH_ROWS", 16)
        monkeypatch.setattr(join_keys, "BLOCK_ROWS", 7)
    joined = librehps.join_scores(one, put(tmp_path, "two.parquet", other))
    theirs = ["second.overall", "second.overall_mu", "second.aesthetic"]
    assert joined.columns == [*librehps.read_scores(one).columns, *theirs]
    assert mus(joined, "second.overall_mu") == mus(librehps.ScoreTable(other), "overall_mu")
    [record] = joined.settings["joined"]
    assert (record["name"], record["key"]) == ("second", "media and prompt")
    assert record["settings"]["model"] == "two/second"
    assert (joined.axes, joined.own_axes) == (("overall", "second.overall"), ("overall",))
    for name in ("j.parquet", "j.jsonl"):
        joined.write(tmp_path / name)
        again = librehps.read_scores(tmp_path / name)
        assert again.settings == joined.settings
        assert again.columns == joined.columns
        assert mus(again, "second.overall_mu") == pytest.approx(mus(joined, "second.overall_mu"))
    kept = librehps.filter_rows(joined, max={"second.overall_mu": 0.0})
    assert {row["id"] for row in kept.rows()} == {
        r["id"] for r in joined.rows()
        if r["status"] == "ok" and (r["second.overall_mu"] or 1) <= 0
    }  # fmt: skip


def test_paths_are_compared_as_files(one: Path, other: pa.Table, tmp_path: Path) -> None:
    """Paths from this folder agree with `../` from the folder below, and with absolute paths."""
    place = {"folder": str(tmp_path / "below"), "output": str(tmp_path)}
    (tmp_path / "below").mkdir()
    metadata = {**other.schema.metadata, b"librehps.place": json.dumps(place).encode()}
    paths = [f"../outputs/./{name}" for name in other["id"].to_pylist()]
    below = with_column(other, "media", pa.array(paths)).replace_schema_metadata(metadata)
    whole = [str(tmp_path / "outputs" / name) for name in other["id"].to_pylist()]
    own = scored(0).replace_schema_metadata(
        {b"librehps.place": json.dumps({**place, "folder": str(tmp_path)}).encode()}
    )
    put(tmp_path, "one.parquet", own)
    for table in (below, with_column(other, "media", pa.array(whole))):
        joined = librehps.join_scores(one, {"b": str(put(tmp_path, "two.parquet", table))})
        assert mus(joined, "b.overall_mu") == mus(librehps.ScoreTable(table), "overall_mu")


def test_equal_names_in_two_folders_are_different_files(tmp_path: Path) -> None:
    """Two experiments have the same relative paths; neither has its media here."""
    files = []
    for name in ("one", "two"):
        place = {"folder": f"/experiments/{name}", "output": f"/experiments/{name}"}
        metadata = {b"librehps.place": json.dumps(place).encode()}
        files.append(put(tmp_path, f"{name}.parquet", scored(0).replace_schema_metadata(metadata)))
    with pytest.raises(UsageError, match="are not in"):
        librehps.join_scores(*files)
    assert librehps.join_scores(*files, key="id").settings["joined"][0]["key"] == "id and prompt"


def test_equal_content_is_joined_wherever_it_lies(
    one: Path, other: pa.Table, tmp_path: Path
) -> None:
    """Copies of one picture have one score; ids and paths do not count."""

    def digests(table: pa.Table) -> pa.Array:
        return pa.array([name.partition("/")[2] for name in table["id"].to_pylist()])

    own = with_column(scored(0), "sha256", digests(scored(0)))
    moved = with_column(other, "sha256", digests(other))
    moved = with_column(moved, "media", pa.array([f"/other/{i}" for i in range(ROWS)]))
    twice = pa.concat_tables([moved, with_column(moved, "id", moved["media"])])
    joined = librehps.join_scores(
        put(tmp_path, "o.parquet", own), {"b": librehps.ScoreTable(twice)}
    )
    assert joined.settings["joined"][0]["key"] == "sha256 and prompt"
    assert mus(joined, "b.overall_mu") == mus(librehps.ScoreTable(other), "overall_mu")


def refused(one: Any, table: pa.Table, caplog: pytest.LogCaptureFixture, **options: Any) -> Any:
    """Return the error for a join, the rows that are left without, and the warnings of that."""
    with pytest.raises(UsageError) as found:
        librehps.join_scores(one, {"b": librehps.ScoreTable(table, origin="b")}, **options)
    assert "--drop-unmatched" in (found.value.hint or "")
    caplog.clear()
    kept = librehps.join_scores(
        one, {"b": librehps.ScoreTable(table, origin="b")}, drop_unmatched=True, **options
    )
    return str(found.value), kept, caplog.text


def test_missing_rows_are_refused_or_left_out(
    one: Path, other: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    own = scored(0)
    lost = other["id"].to_pylist()[:7]
    is_ok = dict(zip(own["id"].to_pylist(), own["status"].to_pylist(), strict=True))
    ok = [name for name in own["id"].to_pylist() if name in lost and is_ok[name] == "ok"]
    text, kept, warned = refused(one, other.slice(7), caplog)
    assert text == (
        f"cannot join by media and prompt: of {ROWS} rows of {one}, {len(ok)} are not in b: {ok[0]}"
    )
    assert f"{len(ok)} rows of {one} left out, in b: {len(ok)} missing" in warned
    # Rows with an error need no partner.
    assert len(kept) == ROWS - len(ok)
    with pytest.raises(NothingScoredError, match=r"no row of .* is in b by media and prompt"):
        refused(one, other.slice(0, 0), caplog)


def test_doubled_rows_are_refused_unless_they_are_equal(
    one: Path, other: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    again = pa.concat_tables([other, other.slice(0, 5)])
    joined = librehps.join_scores(one, {"b": librehps.ScoreTable(again)})
    assert mus(joined, "b.overall_mu") == mus(librehps.ScoreTable(other), "overall_mu")
    ok = other.filter(pa.array([status == "ok" for status in other["status"].to_pylist()]))
    changed = with_column(ok.slice(0, 1), "overall_mu", pa.array([9.0], pa.float32()))
    name = changed["id"][0].as_py()
    text, kept, warned = refused(one, pa.concat_tables([other, changed]), caplog)
    assert f"1 are in b twice, with different numbers: {name}" in text
    assert "1 doubled" in warned and name not in {row["id"] for row in kept.rows()}


def test_rows_under_another_prompt_are_refused(
    one: Path, other: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [f"{p}!" if p == "prompt 3" else p for p in other["prompt"].to_pylist()]
    text, kept, _ = refused(one, with_column(other, "prompt", pa.array(prompts)), caplog)
    assert "are in b under another prompt: " in text
    assert "('prompt 3', there 'prompt 3!')" in text
    assert "are not in b" not in text
    assert len(kept) < ROWS


def test_an_id_that_several_media_share_is_no_key(
    one: Path, other: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    own = scored(0)
    own = with_column(own, "id", pa.array(["0.png", "0.png", *own["id"].to_pylist()[2:]]))
    theirs = with_column(scored(1), "id", own["id"]).slice(1)
    text, kept, _ = refused(own, theirs, caplog, key="id")
    assert "2 share their id and prompt with rows of other media: 0.png" in text
    assert len(kept) == ROWS - 2
    moved = with_column(other, "media", pa.array([f"/elsewhere/{i}" for i in range(ROWS)]))
    with pytest.raises(UsageError) as found:
        librehps.join_scores(one, {"b": librehps.ScoreTable(moved)})
    assert "compare ids instead of paths with --with-key id" in (found.value.hint or "")
    joined = librehps.join_scores(one, {"b": librehps.ScoreTable(moved)}, key="id")
    assert mus(joined, "b.overall_mu") == mus(librehps.ScoreTable(other), "overall_mu")


def csv(rows: pa.Table) -> str:
    names = rows.column_names
    lines = [",".join(map(str, row.values())) for row in rows.to_pylist()]
    return "\n".join([",".join(names), *lines]) + "\n"


def json_lines(rows: pa.Table) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows.to_pylist())


FORMATS: dict[str, Callable[[pa.Table], str]] = {
    "look.csv": csv,
    "look.tsv": lambda rows: csv(rows).replace(",", "\t"),
    "look.jsonl": json_lines,
    "look.json": lambda rows: json.dumps(rows.to_pylist()),
}


@pytest.mark.parametrize("name", [*FORMATS, "look.parquet"])
def test_tables_of_numbers_by_others_are_joined(one: Path, tmp_path: Path, name: str) -> None:
    ids = scored(0)["id"].to_pylist()
    values = {name: i / 8 for i, name in enumerate(ids)}
    rows = pa.table({"id": ids[::-1], "beauty": [*values.values()][::-1], "note": ["fine"] * ROWS})
    if name in FORMATS:
        (tmp_path / name).write_text(FORMATS[name](rows))
    else:
        pq.write_table(rows, tmp_path / name)
    joined = librehps.join_scores(one, [str(tmp_path / name)])
    assert [column for column in joined.columns if "." in column] == ["look.beauty"]
    assert mus(joined, "look.beauty") == values
    assert joined.settings["joined"][0]["key"] == "id"


def test_a_table_by_path_with_missing_values(one: Path, tmp_path: Path) -> None:
    lines = ["path,beauty", *(f"outputs/{name},{'' if i else 'n/a'}"
                              for i, name in enumerate(scored(0)["id"].to_pylist()))]  # fmt: skip
    (tmp_path / "look.csv").write_text("\n".join(lines))
    joined = librehps.join_scores(one, {"b": str(tmp_path / "look.csv")})
    assert joined.settings["joined"][0]["key"] == "media"
    assert set(mus(joined, "b.beauty").values()) == {None}
    with pytest.raises(NothingScoredError, match=r"no row has a score on overall, b\.beauty"):
        librehps.best_of_n(joined, weights="overall=1,b.beauty=1")


def test_a_column_with_a_text_among_its_numbers_is_named(
    one: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("1,5", "1_000", "\u0663", "0x10"):
        caplog.clear()
        lines = [f'{name},{i},"{text if i == 7 else i}",fine'
                 for i, name in enumerate(scored(0)["id"].to_pylist())]  # fmt: skip
        (tmp_path / "look.csv").write_text("\n".join(["id,place,beauty,note", *lines]))
        joined = librehps.join_scores(one, str(tmp_path / "look.csv"))
        assert [name for name in joined.columns if "." in name] == ["look.place"]
        assert f"the column beauty is left out: not a number: {text!r}" in caplog.text
        assert "note" not in caplog.text
    (tmp_path / "look.jsonl").write_text(
        "".join(json.dumps({"id": name, "beauty": 10**400}) + "\n"
                for name in scored(0)["id"].to_pylist())
    )  # fmt: skip
    joined = librehps.join_scores(one, str(tmp_path / "look.jsonl"))
    assert set(mus(joined, "look.beauty").values()) == {None}


def test_what_cannot_be_joined(one: Path, other: pa.Table, tmp_path: Path) -> None:
    for table, problem in (
        (other.select(["id", "prompt"]), "no column of numbers"),
        (other.select(["prompt", "overall_mu"]), "b has no column media; b has no column id"),
    ):
        with pytest.raises(UsageError, match=problem):
            librehps.join_scores(one, {"b": librehps.ScoreTable(table, origin="b")})
    both = [str(put(tmp_path, name, other)) for name in ("a.parquet", "b.parquet")]
    with pytest.raises(UsageError, match="has columns of second already") as found:
        librehps.join_scores(one, both)
    assert "--with NAME=FILE" in (found.value.hint or "")
    with pytest.raises(UsageError, match="a table without a model needs a name"):
        librehps.join_scores(one, [librehps.ScoreTable(other)])


def test_errors_of_the_other_model_are_told(
    one: Path, other: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    librehps.join_scores(one, {"b": librehps.ScoreTable(other, origin="b")})
    own = scored(0)["status"].to_pylist()
    failed = [a == "ok" and b == "error"
              for a, b in zip(own, scored(1)["status"].to_pylist(), strict=True)]  # fmt: skip
    assert f"{sum(failed)} rows have an error in b" in caplog.text
    caplog.clear()
    tables = []
    for table in (scored(0), other):
        status = table["status"].to_pylist()
        pairs = zip(table["id"].to_pylist(), status, strict=True)
        digests = [name if state == "ok" else None for name, state in pairs]
        tables.append(librehps.ScoreTable(with_column(table, "sha256", pa.array(digests))))
    joined = librehps.join_scores(tables[0], {"b": tables[1]})
    assert joined.settings["joined"][0]["key"] == "sha256 and prompt"
    assert f"{sum(failed)} rows have an error in the table" in caplog.text
    assert len(joined) == ROWS


def test_files_joined_to_different_models_are_not_mixed(
    one: Path, other: pa.Table, tmp_path: Path
) -> None:
    for name, model in (("x", "two/second"), ("y", "two/third")):
        table = librehps.ScoreTable(other, {"model": model})
        librehps.join_scores(one, {"b": table}).write(tmp_path / f"{name}.parquet")
    files = [tmp_path / "x.parquet", tmp_path / "y.parquet"]
    with pytest.raises(UsageError, match=r"differ in settings: b\.model"):
        librehps.read_scores(files)


def test_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.csv").touch()
    for text, expected in (
        ("x=y.csv", ("x", "y.csv")),
        ("y.csv", (None, "y.csv")),
        ("a=b.csv", (None, "a=b.csv")),
        ("day=1/y.csv", ("day", "1/y.csv")),
        ("s3://b/y.csv?v=1", (None, "s3://b/y.csv?v=1")),
    ):
        assert parse_source(text) == expected
