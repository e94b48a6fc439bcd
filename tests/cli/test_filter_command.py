"""librehps filter on scored files."""

import datetime
import decimal
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Cli

OVERALL = [0.9, 0.7, None, 0.7, 0.2, 0.3]
PROMPTS = ["cat", "cat", "cat", "dog", "dog", "dog"]


def rows(folder: Path = Path("in")) -> pa.Table:
    """Six rows as `score -o` writes them, the third an error, and a column of the user's."""
    mean = np.array([np.nan if v is None else v for v in OVERALL])
    mu = np.log(mean / (1 - mean))
    columns = {
        "id": [f"sub/{i}.png" for i in range(6)],
        "media": [str(folder / f"{i}.png") for i in range(6)],
        "prompt": PROMPTS,
        "group": pa.nulls(6, pa.string()),
        "overall": pa.array(OVERALL, pa.float32()),
        "overall_mu": pa.array(mu, pa.float32(), from_pandas=True),
        "temporal": pa.nulls(6, pa.float32()),
        "frames": pa.nulls(6, pa.list_(pa.field("element", pa.int32()))),
        "status": ["ok" if v else "error" for v in OVERALL],
        "settings": ["0123456789ab"] * 6,
        "seed": [5, 4, 3, 2, 1, 0],
    }
    metadata = {"librehps.settings": json.dumps({"model": "m", "dtype": "float32"})}
    return pa.table(columns).replace_schema_metadata(metadata)


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scored file; the media it names lie below the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i in range(6):
        Path(f"in/{i}.png").write_text(f"picture {i}")
    pq.write_table(rows(), "s.parquet")
    return Path("s.parquet")


def placed(folder: str) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def numbers(text: str) -> str:
    return "".join(line.removeprefix("in/").removesuffix(".png") for line in text.splitlines())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--min overall=0.7", "013"),
        ("--max overall=0.3", "45"),
        ("--min overall=0.3 --max overall=0.7 --min seed=1", "13"),
        ("--min overall_mu=-2 --top 2", "01"),
        ("--top 2 --by seed", "01"),
        ("--top 1 --per prompt", "03"),
        ("--top 1 --per group", "03"),
        ("--top 50% --per prompt", "035"),
        ("--top 0.01%", "0"),
        ("--top 3 --invert", "245"),
        ("--ok-only", "01345"),
        ("--ok-only --invert", "2"),
        ("--min temporal=0", ""),
    ],
)
def test_conditions(cli: Cli, scores: Path, options: str, expected: str) -> None:
    done = cli("filter", scores, *options.split())
    assert done.returncode == 0, done.stderr
    assert numbers(done.stdout) == expected
    verb = "do not pass" if "--invert" in options else "pass"
    *notes, counts = done.stderr.splitlines()
    errors = "" if "--invert" in options else "; 1 row with errors left out"
    assert counts == f"{len(expected)} of 6 rows {verb}{errors}"
    is_across = "--top" in options and "--per" not in options and "--by" not in options
    mixed = "scores of different prompts are compared (2 prompts); add --per prompt"
    assert notes == [mixed] * is_across


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "no condition given"),
        ("--invert", "no condition given"),
        ("--by style", "--by and --per need --top or --distinct"),
        (
            "--min colour=1",
            "no column colour; expected one of: overall, overall_mu, temporal, seed",
        ),
        ("--min prompt=1", "the column prompt holds text, not numbers"),
        ("--top 1 --by style", "no column style_mu"),
        ("--top 1 --per frames", "cannot group rows by column frames"),
        ("--min overall", "--min: expected COLUMN=NUMBER, got 'overall'"),
        ("--min overall=high", "--min: expected COLUMN=NUMBER, got 'overall=high'"),
        ("--max overall=nan", "--max: expected COLUMN=NUMBER, got 'overall=nan'"),
        ("--min =1", "--min: expected COLUMN=NUMBER, got '=1'"),
        ("--top 0", "--top: expected a number of rows or a percentage, got '0'"),
        ("--top 0%", "--top: expected a number of rows or a percentage, got '0%'"),
        ("--top 101%", "--top: expected a number of rows or a percentage, got '101%'"),
        ("--top -3", "--top: expected a number of rows or a percentage, got '-3'"),
        ("--ok-only --null --json", "--null: unsupported with JSON Lines"),
        ("--ok-only --copy-to a --link-to b", "cannot be used together"),
        ("--ok-only -o x.txt", "use .parquet, .jsonl, .csv, .tsv, or - for stdout"),
        ("--ok-only -o s.parquet", "s.parquet already exists"),
    ],
)
def test_usage(cli: Cli, scores: Path, options: str, message: str) -> None:
    done = cli("filter", scores, *options.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_column_with_an_equals_sign(cli: Cli, scores: Path) -> None:
    pq.write_table(rows().append_column("a=b", pa.array(range(6))), scores)
    assert numbers(cli("filter", scores, "--min", "a=b=4").stdout) == "45"


def test_parts_and_several_files(cli: Cli, scores: Path) -> None:
    Path("parts").mkdir()
    pq.write_table(rows().slice(0, 2), "parts/0.parquet")
    pq.write_table(rows().slice(2, 2), "parts/1.parquet")
    pq.write_table(rows().slice(4), "rest.parquet")
    done = cli("filter", "parts", "rest.parquet", "--top", 3, "-o", "x.parquet")
    assert done.returncode == 0, done.stderr
    written = pq.read_table("x.parquet")
    assert written.column("seed").to_pylist() == [5, 4, 2]
    assert written.schema.equals(rows().schema, check_metadata=True)


def test_mixed_settings(cli: Cli, scores: Path) -> None:
    other = {"librehps.settings": json.dumps({"model": "n", "dtype": "float32"})}
    pq.write_table(rows().replace_schema_metadata(other), "other.parquet")
    done = cli("filter", scores, "other.parquet", "--ok-only")
    assert done.returncode == 2
    assert "differ in settings: model" in done.stderr
    bare = rows().replace_schema_metadata(None)
    pq.write_table(bare.set_column(9, "settings", pa.array(["ba9876543210"] * 6)), "bare.parquet")
    done = cli("filter", scores, "bare.parquet", "--ok-only")
    assert done.returncode == 2
    assert "rows of 2 different settings: 0123456789ab, ba9876543210" in done.stderr


def test_whole_rows(cli: Cli, scores: Path) -> None:
    done = cli("filter", scores, "--top", 1, "--json")
    (line,) = done.stdout.splitlines()
    row = json.loads(line)
    assert list(row) == rows().column_names
    assert '"overall": 0.9,' in line, "float32 in its shortest figures"
    assert (row["id"], row["seed"], row["temporal"]) == ("sub/0.png", 5, None)
    again = cli("filter", scores, "--top", 1, "-o", "-", "--quiet")
    assert (again.stdout, again.stderr) == (done.stdout, "")


def test_json_lines_filter_to_the_same(cli: Cli, scores: Path) -> None:
    done = cli("filter", scores, "--ok-only", "-o", "x.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(Path("x.jsonl.settings.json").read_text())["model"] == "m"
    for options in ("--min overall=0.7", "--max overall=0.3", "--top 1 --per group"):
        ours = cli("filter", "x.jsonl", *options.split()).stdout
        assert ours == cli("filter", scores, *options.split()).stdout != ""
    kept = cli("filter", "x.jsonl", "--top", 2, "-o", "y.parquet")
    assert kept.returncode == 0, kept.stderr
    assert b"librehps.settings" in pq.read_schema("y.parquet").metadata


def test_an_output_is_whole_and_new(cli: Cli, scores: Path) -> None:
    assert cli("filter", scores, "--ok-only", "-o", "x.jsonl").returncode == 0
    pq.write_table(rows().replace_schema_metadata(None), "bare.parquet")
    assert cli("filter", "bare.parquet", "--top", 1, "-o", "x.jsonl").returncode == 2
    done = cli("filter", "bare.parquet", "--top", 1, "-o", "x.jsonl", "--overwrite")
    assert done.returncode == 0
    assert len(Path("x.jsonl").read_text().splitlines()) == 1
    assert not Path("x.jsonl.settings.json").exists(), "they would be those of other scores"
    Path("empty.jsonl").write_text('{"media": "a", "status": "ok", "extra": {}}\n')
    done = cli("filter", "empty.jsonl", "--ok-only", "-o", "y.parquet")
    assert done.returncode == 1
    assert "y.parquet cannot be written" in done.stderr
    assert not Path("y.parquet").exists()
    assert not list(Path().glob("*.partial"))
    again = cli("filter", scores, "--top", 2, "-o", scores, "--overwrite")
    assert again.returncode == 0
    assert pq.read_table(scores).num_rows == 2


def test_columns_of_any_type(cli: Cli, scores: Path) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8, 9)
    extra = {
        "at": pa.array([day] * 6, pa.timestamp("us")),
        "nanos": pa.array([1] * 6, pa.timestamp("ns")),
        "took": pa.array([datetime.timedelta(seconds=3)] * 6),
        "price": pa.array([decimal.Decimal("1.50")] * 6),
        "raw": pa.array([b"\xff\x00"] * 6),
        "precise": pa.array([1234567.891] * 6),
        "odd": pa.array([float("nan"), *[float("inf")] * 5]),
        "half": pa.array(np.full(6, 0.5, np.float16)),
        "kind": pa.array(["image"] * 6).dictionary_encode(),
        "nested": pa.array([{"a": [1.5, float("nan")], "b": b"x", "c": day}] * 6),
    }
    table = rows()
    for name, values in extra.items():
        table = table.append_column(name, values)
    pq.write_table(table, scores)
    done = cli("filter", scores, "--top", 1, "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    assert row["at"].startswith("2024-05-06 07:08:09")
    assert row["nanos"] == "1970-01-01 00:00:00.000000001"
    assert (row["price"], row["precise"], row["odd"]) == (1.5, 1234567.891, None)
    assert (row["raw"], row["half"], row["kind"]) == ("/wA=", 0.5, "image")
    assert row["nested"] == {"a": [1.5, None], "b": "eA==", "c": "2024-05-06 07:08:09"}
    assert cli("filter", scores, "--max", "odd=1", "--min", "precise=1").stdout == ""
    assert numbers(cli("filter", scores, "--top", 1, "--per", "at").stdout) == "0"
    assert cli("filter", scores, "--ok-only", "-o", "x.parquet").returncode == 0
    assert pq.read_schema("x.parquet").field("nested").type == table.schema.field("nested").type


def test_odd_paths(cli: Cli, scores: Path) -> None:
    odd = ["in/a\nb.png", "in/ü %FF.png", *[f"{i}" for i in range(4)]]
    for name in odd:
        Path(name).touch()
    pq.write_table(rows().set_column(1, "media", pa.array(odd)), scores)
    done = cli("filter", scores, "--top", 2)
    assert (done.returncode, done.stdout) == (2, "")
    assert r"a path holds a line break: 'in/a\nb.png'" in done.stderr
    assert "hint: Use --null" in done.stderr
    assert cli("filter", scores, "--top", 2, "-0").stdout == "in/a\nb.png\0in/ü %FF.png\0"
    alone = cli("filter", scores, "--min", "seed=4", "--max", "seed=4", LC_ALL="C")
    assert alone.stdout == "in/ü %FF.png\n"


def test_media_without_a_path(cli: Cli, scores: Path) -> None:
    pq.write_table(rows().set_column(1, "media", pa.nulls(6)), scores)
    for options in ((), ("--copy-to", "out")):
        done = cli("filter", scores, "--top", 2, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "2 of 2 rows have no path" in done.stderr
        assert "hint: Print whole rows with --json, or write them with -o." in done.stderr
    assert len(cli("filter", scores, "--top", 2, "--json").stdout.splitlines()) == 2


@pytest.mark.parametrize(("flag", "is_link"), [("--copy-to", False), ("--link-to", True)])
def test_placing(cli: Cli, scores: Path, flag: str, is_link: bool) -> None:
    done = cli("filter", scores, "--top", 2, flag, "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(p.name for p in Path("out/sub").iterdir()) == ["0.png", "1.png"]
    assert Path("out/sub/0.png").read_text() == "picture 0"
    assert Path("out/sub/0.png").is_symlink() == is_link
    again = cli("filter", scores, "--ok-only", flag, "out", "-o", "x.jsonl")
    assert again.returncode == 2
    assert "out/sub/0.png already exists, and 1 more" in again.stderr
    assert not Path("out/sub/3.png").exists()
    assert not Path("x.jsonl").exists()
    more = cli("filter", scores, "--max", "overall=0.3", flag, "out", "--null")
    assert more.stdout == "in/4.png\0in/5.png\0"


def test_placing_what_must_not_be(cli: Cli, scores: Path) -> None:
    os.remove("in/1.png")
    done = cli("filter", scores, "--top", 2, "--copy-to", "kept")
    assert (done.returncode, placed("kept")) == (3, ["sub/0.png"])
    assert "1 of 2 files are not copied: no such file: in/1.png" in done.stderr
    quiet = cli("filter", scores, "--top", 2, "--copy-to", "still", "-q")
    assert quiet.stderr == "error: 1 of 2 files are not copied: no such file: in/1.png\n"
    done = cli("filter", scores, "--max", "seed=4", "--top", 1, "--copy-to", "out")
    assert (done.returncode, Path("out").exists()) == (1, False)
    assert "no such file: in/1.png" in done.stderr
    pq.write_table(rows().drop_columns(["id"]), scores)
    assert "no column id" in cli("filter", scores, "--top", 1, "--copy-to", "out").stderr


def test_files_that_are_none(cli: Cli, scores: Path) -> None:
    Path("torn.jsonl").write_text('{"id": ')
    Path("torn.parquet").write_bytes(b"PAR1")
    pq.write_table(rows().drop_columns(["media", "status"]), "foreign.parquet")
    for name, message in {
        "gone.parquet": "no such file: gone.parquet",
        "torn.jsonl": "torn.jsonl cannot be read",
        "torn.parquet": "torn.parquet cannot be read",
        "foreign.parquet": "foreign.parquet lacks the columns media, status",
    }.items():
        done = cli("filter", name, "--ok-only")
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_no_rows_at_all(cli: Cli, scores: Path) -> None:
    Path("empty.jsonl").touch()
    assert "0 of 0 rows pass" in cli("filter", "empty.jsonl", "--ok-only").stderr
    pq.write_table(rows().slice(0, 0), scores)
    done = cli("filter", scores, "--min", "overall=0", "--top", "5%", "--per", "group")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "0 of 0 rows pass\n"
    for name in ("x.parquet", "x.jsonl"):
        assert cli("filter", scores, "--ok-only", "-o", name).returncode == 0
    assert pq.read_schema("x.parquet").equals(rows().schema, check_metadata=True)
