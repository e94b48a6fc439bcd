"""Files of rows: one reader for manifests and for pairs, whatever the suffix."""

import csv
import gzip
import json
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps.errors import PreferenceError, UsageError
from librehps.items.source import Source, SourceOptions
from librehps.preferences.read import read_unjudged
from librehps.rowfiles import FORMATS, GZIP, RowFile, delimited, holds_rows, names_rows
from librehps.rowfiles.parquet import parquet_blocks
from librehps.runs.finished import FinishedOutput

ROWS = [
    {"image": "a.png", "prompt": 'a "cat", asleep', "media_a": "a.png", "media_b": "b.png"},
    {"image": "b.png", "prompt": "two\nlines", "media_a": "b.png", "media_b": "ä.png"},
]
TEXT_SUFFIXES = [suffix for suffix, known in FORMATS.items() if known.is_text]
ALL_SUFFIXES = [*FORMATS, *(suffix + GZIP for suffix in TEXT_SUFFIXES), ".CSV", ".Json.GZ"]


def text_of(rows: list[dict], suffix: str) -> str:
    if suffix == ".json":
        return "\ufeff \n" + json.dumps(rows, indent=2) + "\n"
    if suffix in (".jsonl", ".ndjson"):
        return "\n\n".join(json.dumps(row) for row in rows)
    comma = "\t" if suffix == ".tsv" else ","
    quoted = [['"' + value.replace('"', '""') + '"' for value in row.values()] for row in rows]
    return "\n".join(comma.join(fields) for fields in [list(rows[0]), *quoted])


def write(folder: Path, suffix: str, rows: list[dict] = ROWS, text: str | None = None) -> Path:
    file = folder / f"rows{suffix}"
    plain = suffix.lower().removesuffix(GZIP)
    if plain == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file
    content = (text_of(rows, plain) if text is None else text).encode()
    file.write_bytes(gzip.compress(content) if suffix.lower().endswith(GZIP) else content)
    return file


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_every_format_gives_the_same_rows_to_every_reader(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path, suffix)
    assert names_rows(file)
    places, rows = zip(*RowFile(file).rows(), strict=True)
    assert list(rows) == ROWS
    assert all(str(file) in place for place in places)
    assert len(set(places)) == 2
    items = list(Source([str(file)], SourceOptions()).items())
    assert [(i.id, i.prompt) for i in items] == [(r["image"], r["prompt"]) for r in ROWS]
    pairs = read_unjudged(file)
    assert [(p.prompt, p.media_b) for p in pairs] == [
        (row["prompt"], tmp_path / row["media_b"]) for row in ROWS
    ]


def test_the_rows_of_a_long_array_come_one_by_one(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * (at % 900), "at": at} for at in range(500)]
    rows.append({"prompt": "y" * 300_000, "at": 500})
    file = write(tmp_path, ".json", rows)
    assert [row for _, row in RowFile(file).rows()] == rows
    torn = write(tmp_path, ".json", text=json.dumps(rows)[:-300_000])
    found = RowFile(torn).rows()
    assert [next(found)[1]["at"] for _ in range(500)] == list(range(500))
    with pytest.raises(UsageError, match="entry 501: invalid JSON"):
        next(found)


@pytest.mark.parametrize(
    ("suffix", "text", "words"),
    [
        (".tsv", 'image\tprompt\na\t"The End\nb\tblue\nc\tsays "x"\n', "line 2: invalid row"),
        (".tsv", 'image\tprompt\na\tred\nb\t"A cat\nc\tC cat\n', "line 3: invalid row"),
        (".tsv", 'image\tprompt\na\t"A cat\nb\tB cat"\n', "line 2: .* spans several rows"),
        (".csv", 'image,prompt\na,x\n\nb,"y\n', "line 4: invalid row"),
        (".csv", "image,prompt\na.png\n", "line 2: got 1 fields, expected 2"),
        (".csv", 'image,prompt\na.png,"two\nlines"\nb.png,"x" y\n', "line 4: invalid row"),
        (".csv", 'image,prompt\na.png,"A, cat\nb.png,B cat"\n', "line 2: .* spans several rows"),
        (".csv", 'image,prompt\na.png,"A cat\nb.jpg,B cat"\n', "line 2: .* spans several rows"),
        (".csv", 'prompt,image\n"A, cat,a.png\nB cat",b.png\n', "line 2: .* spans several rows"),
        (".csv", 'image,prompt\ra.png,x\rb.png,"y" z\r', "line 3: invalid row"),
        (".tsv", "image\tprompt\na.png\tx\ty\n", "line 2: got 3 fields, expected 2"),
        (".csv", "image,prompt,prompt\na,b,c\n", "line 1: duplicate column name 'prompt'"),
        (".tsv.gz", "a\ta\n", "line 1: duplicate column name 'a'"),
        (".csv", "image,prompt\na.png," + "x" * 99 + "\0\n", "line 2: zero bytes"),
        (".csv", "image,prompt\na.png,x\0\n", "zero bytes in the text"),
        (
            ".jsonl",
            '{"image": "a"}\n{"image": "a", "image": "b"}',
            "line 2: duplicate name 'image'",
        ),
        (".json", '[{"image": "a", "image": "b"}]', "entry 1: duplicate name 'image'"),
        (".csv.gz", "image,prompt\na.png\n", r"rows\.csv\.gz, line 2: got"),
        (".jsonl", '{"image": "a"}\n{"image": ', "line 2: invalid JSON"),
        (".ndjson", "[1]\n", "line 1: expected a JSON object"),
        (".json", '{"image": "a.png"}', "expected a JSON array"),
        (".json", '[{"image": "a.png"} {"image": "b.png"}]', "damaged after entry 1"),
        (".json", '[{"image": "a.png"},]', "entry 2: invalid JSON"),
        (".json", '[{"image": "a.png"}] 3', "damaged after entry 1"),
        (".json", '[{"image": "a.png"}', "damaged after entry 1"),
        (".json", '[{"image": "a.png"}, 3]', "entry 2: expected a JSON object"),
        (".json", "", "expected a JSON array"),
    ],
)
@pytest.mark.parametrize("error", [UsageError, PreferenceError])
def test_a_damaged_file_is_an_error_that_names_the_place(
    tmp_path: Path, suffix: str, text: str, words: str, error: type
) -> None:
    file = write(tmp_path, suffix, text=text)
    with pytest.raises(error, match=words) as raised:
        list(RowFile(file, error).rows())
    assert type(raised.value) is error
    assert str(file) in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cut = write(tmp_path, ".jsonl.gz")
    cut.write_bytes(cut.read_bytes()[:-12])
    with pytest.raises(UsageError, match=r"rows\.jsonl\.gz is cut short"):
        list(RowFile(cut).rows())
    latin = tmp_path / "l.csv"
    latin.write_bytes(b"image,prompt\na.png,caf\xe9\n")
    with pytest.raises(PreferenceError, match=r"l\.csv, line 2: not valid UTF-8 \(byte 0xe9"):
        list(RowFile(latin, PreferenceError).rows())
    plain = tmp_path / "plain.csv"
    plain.write_bytes(gzip.compress(b"image\na.png\n"))
    with pytest.raises(UsageError, match="compressed with gzip") as raised:
        list(RowFile(plain).rows())
    assert "plain.csv.gz" in (raised.value.hint or "")
    doubled = pa.Table.from_arrays([pa.array(["a.png"])] * 2, names=["image", "image"])
    pq.write_table(doubled, tmp_path / "doubled.parquet")
    with pytest.raises(UsageError, match=r"doubled\.parquet: duplicate column name 'image'"):
        RowFile(tmp_path / "doubled.parquet").schema()
    with pytest.raises(PreferenceError, match="duplicate column name"):
        list(RowFile(tmp_path / "doubled.parquet", PreferenceError).rows())
    packed = tmp_path / "p.parquet.gz"
    packed.write_bytes(gzip.compress(write(tmp_path, ".parquet").read_bytes()))
    with pytest.raises(UsageError, match=r"is not read as \.gz"):
        RowFile(packed)
    with pytest.raises(UsageError, match="no such file"):
        RowFile(tmp_path / "gone.csv", PreferenceError)
    with pytest.raises(PreferenceError, match=r"expected \.csv .* \.parquet"):
        RowFile(write(tmp_path, ".txt", text=""), PreferenceError)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".jsonl", ".json"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, suffix: str, encoding: str) -> None:
    file = tmp_path / f"rows{suffix}"
    content = text_of(ROWS, suffix.removesuffix(GZIP)).lstrip("\ufeff").encode(encoding)
    file.write_bytes(gzip.compress(content) if suffix.endswith(GZIP) else content)
    if encoding == "utf-16-le":
        with pytest.raises(UsageError, match="zero bytes in the text") as raised:
            Source([str(file)], SourceOptions())
        assert str(file) in str(raised.value)
        assert "iconv -f UTF-16LE" in (raised.value.hint or "")
        return
    assert [row for _, row in RowFile(file).rows()] == ROWS


def test_prompts_and_cells_that_quotes_leave_whole(tmp_path: Path) -> None:
    """Line breaks of Windows and old Macs, breaks and commas in cells, quotes inside words."""
    prompts = ["a cat, big\r\na dog, small", 'a 5" screen', 'say "hi"', "x\ry"]
    lines = ["image,prompt", *(f'a{n}.png,"{p.replace(chr(34), chr(34) * 2)}"'
                               for n, p in enumerate(prompts))]  # fmt: skip
    lines.append('a4.png,a 5" screen')
    for end in ("\n", "\r\n", "\r"):
        file = write(tmp_path, ".csv", text=end.join(lines))
        assert [row["prompt"] for _, row in RowFile(file).rows()] == [*prompts, 'a 5" screen']


@pytest.mark.parametrize(
    ("suffix", "header", "fields"),
    [
        (".csv", "image;prompt", ["a.png", "x, y"]),
        (".csv", '"image";"prompt"', ["a.png", '"x; y"']),
        (".csv.gz", "image\tprompt\t", ["a.png", "x;y", ""]),
        (".csv", "image|prompt", ["a.png", "x"]),
        (".tsv", "image,prompt", ["a.png", "x"]),
        # These have the separator of their suffix.
        (".csv", "image;prompt,x", ["a.png;b", "y"]),
        (".csv", 'image,"the;\tprompt"', ["a.png", "x;y"]),
        (".csv", ",image;prompt", ["1", "a.png;x"]),
        (".csv", "image;", ["a.png;"]),
        (".csv", "image;a|b", ["a.png;c|d"]),
        (".tsv", "image, or path\tprompt", ["a,b", "x"]),
    ],
)
def test_the_separator_of_a_header(
    tmp_path: Path, suffix: str, header: str, fields: list[str]
) -> None:
    usual = "\t" if suffix == ".tsv" else ","
    others = [mark for mark in ",;\t|" if mark in header and usual not in header]
    mark = others[0] if len(others) == 1 and header != "image;" else usual
    file = RowFile(write(tmp_path, suffix, text=f"{header}\n{mark.join(fields)}\n"))
    names = next(csv.reader([header], delimiter=mark))
    row = dict(zip(names, (field.strip('"') or None for field in fields), strict=True))
    assert [row for _, row in file.rows()] == [row]
    assert [row for block in file.blocks() for _, row in block.placed()] == [row]


def test_a_table_without_a_clear_separator(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"columns: image;prompt, or text") as raised:
        Source([str(write(tmp_path, ".csv", text="image;prompt,or text\na,b\n"))], SourceOptions())
    assert "--media-column" in (raised.value.hint or "")
    assert (raised.value.hint or "").startswith("Separate the names by one of")
    mixed = write(tmp_path, ".csv", text="image,prompt\na.png;x\n")
    with pytest.raises(UsageError, match="got 1 fields, expected 2") as raised:
        list(RowFile(mixed).rows())
    assert "by ','" in (raised.value.hint or "")


def test_which_files_are_manifests(tmp_path: Path) -> None:
    assert holds_rows(write(tmp_path, ".json", text="\n\n  [\n"))
    assert holds_rows(write(tmp_path, ".json.gz"))
    assert not holds_rows(write(tmp_path, ".json", text='{"prompt": "of one picture"}'))
    assert not holds_rows(write(tmp_path, ".json.gz", text='{"prompt": "x"}'))
    assert not holds_rows(write(tmp_path, ".json", text='{\n"prompt": "x"\n}\n'))
    assert not holds_rows(write(tmp_path, ".json", text=""))
    lines = write(tmp_path, ".json", text='{"image": "a"}\n\n{"image": "b"}\n')
    with pytest.raises(UsageError, match="expected a JSON array") as raised:
        Source([str(lines)], SourceOptions())
    assert ".jsonl" in (raised.value.hint or "")
    assert holds_rows(tmp_path / "gone.ndjson.gz")
    assert not holds_rows(tmp_path / "a.tar.gz")
    (tmp_path / "folder.csv").mkdir()
    assert not holds_rows(tmp_path / "folder.csv")


def test_a_folder_takes_no_manifest(tmp_path: Path) -> None:
    write(tmp_path, ".json")
    (tmp_path / "a.png").write_bytes(b"x")
    source = Source([str(tmp_path)], SourceOptions())
    assert [item.id for item in source.items()] == ["a.png"]
    assert source.skipped == 1


def test_bytes_are_left_out_of_named_columns(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": b"x", "path": "a.png"}, "thumb": b"y", "prompt": "p"}]
    file = RowFile(write(tmp_path, ".parquet", rows))
    schema = file.schema()
    assert schema is not None
    assert schema.binary == {"image", "thumb"}
    [(place, row)] = file.rows(["image", "thumb", "prompt"])
    assert row == {"image": {"path": "a.png"}, "prompt": "p"}
    assert place.endswith("row 0")
    assert [row for _, row in file.rows()] == rows


def test_row_groups_that_were_read_are_not_kept(tmp_path: Path) -> None:
    file, content = tmp_path / "x.parquet", random.Random(1).randbytes
    ids = pa.table({"id": [content(32).hex() for _ in range(80_000)]})
    pq.write_table(ids, file, row_group_size=2000, use_dictionary=False)
    for blocks in (parquet_blocks(file, ["id"]), FinishedOutput(file).ids()):
        before, count, most = pa.total_allocated_bytes(), 0, 0
        for block in blocks:
            count += len(block)
            most = max(most, pa.total_allocated_bytes() - before)
        assert count == len(ids)
        assert most < ids.nbytes / 2


def test_times_in_nanoseconds_need_no_pandas(tmp_path: Path) -> None:
    """Python's own times have microseconds; Arrow reads finer ones into those of pandas."""
    fine, coarse = 1_700_000_000_123_456_789, 1_700_000_000_123_456_000
    when, text = datetime(2023, 11, 14, 22, 13, 20, 123456), "2023-11-14 22:13:20.123456789"
    nested = pa.struct([("at", pa.timestamp("ns"))])
    columns = {
        "coarse": (pa.timestamp("ns"), coarse, when),
        "fine": (pa.timestamp("ns"), fine, text),
        "zoned": (pa.timestamp("ns", "Europe/Berlin"), fine, f"{text.replace(' 22', ' 23')}+01:00"),
        "utc": (pa.timestamp("ns", "UTC"), fine, f"{text}+00:00"),
        "clock": (pa.time64("ns"), 1, "00:00:00.000000001"),
        "took": (pa.duration("ns"), 1_500, timedelta(microseconds=1)),
        "nested": (pa.list_(nested), [{"at": fine}], [{"at": text}]),
    }
    table = pa.table({n: pa.array([value, None], kind) for n, (kind, value, _) in columns.items()})
    pq.write_table(table, tmp_path / "m.parquet")
    (_, row), (_, bare) = RowFile(tmp_path / "m.parquet").rows()
    assert row == {name: expected for name, (_, _, expected) in columns.items()}
    assert {type(row["coarse"]), type(row["took"])} == {datetime, timedelta}
    assert set(bare.values()) == {None}


def test_a_time_is_the_same_whatever_times_are_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("librehps.rowfiles.parquet.BATCH_ROWS", 2)
    whole, part, fine = (1_700_000_000_000_000_000 + more for more in (0, 123_456_000, 1))
    times, at = [whole, part, fine, whole, part, -1], pa.timestamp("ns")
    utc, local = (pa.timestamp("ns", zone) for zone in ("UTC", "Europe/Berlin"))
    columns = {
        "time": pa.array(times, at),
        "zoned": pa.array(times, local),
        "clock": pa.array([one % 86_400_000_000_000 for one in times], pa.time64("ns")),
        "utc": pa.array([{"at": [one]} for one in times], pa.struct([("at", pa.list_(utc))])),
        "map": pa.array([[("at", one)] for one in times], pa.map_(pa.string(), at)),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    found = [row for _, row in RowFile(tmp_path / "m.parquet").rows()]
    assert found[0] == found[3] and found[1] == found[4]
    assert found[5] == {
        "time": "1969-12-31 23:59:59.999999999",
        "zoned": "1970-01-01 00:59:59.999999999+01:00",
        "clock": "23:59:59.999999999",
        "utc": {"at": ["1969-12-31 23:59:59.999999999+00:00"]},
        "map": [("at", "1969-12-31 23:59:59.999999999")],
    }


def test_a_new_format_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, ".lines", FORMATS[".jsonl"])
    file = write(tmp_path, ".lines.gz", text=json.dumps(ROWS[0]))
    [item] = Source([str(file)], SourceOptions()).items()
    assert item.prompt == ROWS[0]["prompt"]
    assert len(read_unjudged(file)) == 1


def random_table(chance: random.Random, comma: str) -> str:
    """Return a table of which some fields and rows are unusual, or invalid."""
    odd = ['"', "\r", "\0", comma, '"x"', "\n", "\u2028", "\x0b", "\n\n"]
    end, width = chance.choice(["\n", "\n", "\r\n"]), chance.randint(1, 3)

    def field() -> str:
        return "".join(
            chance.choice(odd if chance.random() < 0.02 else ["a", "b", " ", "é", ""])
            for _ in range(chance.randint(0, 3))
        )

    lengths = [width if chance.random() < 0.98 else chance.randint(0, 4) for _ in range(9)]
    rows = [comma.join(field() for _ in range(length)) for length in lengths]
    kept = rows if chance.random() < 0.2 else [row or "x" for row in rows]
    blank = end if chance.random() < 0.05 else ""
    last = end if chance.random() < 0.7 else ""
    return blank + end.join([comma.join("pqr"[:width]), *kept[chance.randint(0, 9) :]]) + last


@pytest.mark.parametrize("read_chars", [1, 7, 1000])
def test_rows_by_column_are_the_rows_one_by_one(
    read_chars: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "READ_CHARS", read_chars)
    chance, seen = random.Random(read_chars), set[bool]()

    def found(rows: Iterable[object]) -> list[object]:
        got = list[object]()
        try:
            got.extend(rows)
        except UsageError as error:
            got.append((str(error), error.hint))
        return got

    for number in range(200):
        suffix, comma = (".csv", ",") if number % 2 else (".tsv", "\t")
        text = random_table(chance, comma)
        rows = RowFile(write(tmp_path, suffix, text=text))
        expected = found(rows.rows())
        assert found(row for block in rows.blocks() for row in block.placed()) == expected, text
        seen.add(bool(expected) and isinstance(expected[-1][1], dict))  # type: ignore[index]
    assert seen == {True, False}
