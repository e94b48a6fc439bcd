"""librehps leaderboard on scored files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from conftest import Cli as Run
from librehps_cli.ui.output import shorten

NAMES = ["base", "tuned", "[red]loud[/red]", "bell\x07\x1b[31m"]
LONG = [f"models/family-{i}/a-checkpoint-with-a-very-long-name/step-{i}000" for i in range(7)]
WIDE = ["画像生成モデル" * 5, "a", "b"]
AXES = ("overall", "alignment", "coherence", "style", "temporal")
COLUMNS = [
    "axis", "category", "prompts", "rank", "generator", "mean", "mean_low", "mean_high",
    "strength", "strength_low", "strength_high", "win_rate", "scored", "errors",
]  # fmt: skip


def rows(names: Sequence[str] = NAMES, prompts: int = 40) -> pa.Table:
    """Every generator under every prompt; the further down the list, the better but the first two,
    which are equal."""
    rng = np.random.default_rng(0)
    found = []
    for p in range(prompts):
        for g, name in enumerate(names):
            one = {"id": f"{g}/{p}.png", "media": f"{g}/{p}.png", "prompt": f"prompt {p}"}
            one |= {"gen": name, "kind of prompt": ["people", "a|b"][p % 2], "status": "ok"}
            for axis in AXES[:4]:
                mu = 1.5 * max(g - 1, 0) + rng.gumbel()
                one |= {axis: 1 / (1 + math.exp(-mu)), f"{axis}_mu": mu}
            found.append(one | {"error_type": None, "settings": "0123456789ab"})
    metadata = {"librehps.settings": json.dumps({"model": "m"})}
    return pa.Table.from_pylist(found).replace_schema_metadata(metadata)


@pytest.fixture
def board(cli: Run) -> Run:
    """Runs `librehps leaderboard ARGS`, with few resamples unless told."""
    return lambda *args, **environment: cli("leaderboard", "--resamples", 200, *args, **environment)


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pq.write_table(rows(), "s.parquet")
    return Path("s.parquet")


def changed(column: str, values: list[object]) -> pa.Table:
    """The rows with the first values of a column replaced."""
    table = rows()
    kept = table[column].to_pylist()[len(values) :]
    return table.set_column(table.column_names.index(column), column, pa.array([*values, *kept]))


def test_table(board: Run, scores: Path) -> None:
    done = board(scores, "--by", "gen", "--category", "kind of prompt", "--table",
               COLUMNS="80")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "overall, 40 prompts; strength in log-odds"
    assert [line.split()[:2] for line in lines[2:6]] == [["1", "1"], ["2", "2"], ["3", "3"],
                                                         ["4", "3"]]  # fmt: skip
    assert r"bell\x07\x1b[31m" in lines[2]
    assert "[red]loud[/red]" in lines[3]
    assert lines[6] == "wins of the row over the column, %"
    assert lines[8].split()[-4] == "-"
    (doubt,) = [line for line in lines if "not significant, p = " in line]
    assert "base" in doubt
    assert "tuned" in doubt
    assert "means of overall by category" in lines
    assert lines[-2].split()[:2] == ["a|b", "20"]
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("names", [NAMES, LONG, WIDE, [*NAMES, *WIDE], LONG * 2])
def test_eighty_columns(board: Run, scores: Path, names: list[str]) -> None:
    names = [name + str(i // 7) if len(names) > 8 else name for i, name in enumerate(names)]
    pq.write_table(rows(names, 12), "s.parquet")
    done = board(scores, "--by", "gen", "--category", "kind of prompt", "--table",
               COLUMNS="80")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    # Nothing is folded: the lines are those of the tables and of the pairs that are alike.
    assert sum(line.startswith(f"{len(names)} ") for line in lines) >= 2
    assert all(line.split()[-1].endswith("%") for line in lines[2 : 2 + len(names)])


def test_a_narrow_terminal_and_many_generators(board: Run, scores: Path) -> None:
    pq.write_table(rows([f"generator number {i}" for i in range(30)], 8), "s.parquet")
    done = board(scores, "--by", "gen", "--axis", "overall", "--table", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert (
        "wins of the row over the column, %: too wide here, use --markdown or --json" in done.stdout
    )
    assert "means" not in done.stdout
    narrow = board(scores, "--by", "gen", "--table", COLUMNS="20")
    assert narrow.returncode == 0, narrow.stderr


def test_json_lines_in_a_pipe(board: Run, scores: Path) -> None:
    options = (
        "--by",
        "gen",
        "--category",
        "kind of prompt",
        "--axis",
        "style",
        "--axis",
        "overall",
    )
    done = board(scores, *options)
    assert (done.returncode, done.stderr) == (0, "")
    boards = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(b["axis"], b["category"], b["prompts"]) for b in boards] == [
        ("overall", None, 40), ("style", None, 40), ("overall", "a|b", 20), ("style", "a|b", 20),
        ("overall", "people", 20), ("style", "people", 20),
    ]  # fmt: skip
    first = boards[0]
    assert first["by"] == "gen"
    assert first["unshared"] == dict.fromkeys(NAMES, 0)
    assert [list(s) for s in first["standings"]] == [COLUMNS[3:]] * 4
    assert first["standings"][0]["generator"] == NAMES[3]
    assert [s["rank"] for s in first["standings"]] == [1, 2, 3, 3]
    assert [row[i] for i, row in enumerate(first["wins"])] == [0.5] * 4
    assert np.array(first["p_values"]).shape == (4, 4)
    assert board(scores, *options).stdout == done.stdout, "the same each time"
    assert board(scores, *options, "--seed", 1).stdout != done.stdout


def test_markdown(board: Run, scores: Path) -> None:
    done = board(scores, "--by", "gen", "--category", "kind of prompt", "--markdown")
    assert (done.returncode, done.stderr) == (0, "")
    assert "**overall, 40 prompts; strength in log-odds**" in done.stdout
    assert "| # | generator | 1 | 2 | 3 | 4 |" in done.stdout
    assert r"\[red\]loud\[/red\]" in done.stdout
    assert r"a\|b" in done.stdout
    assert "\x1b" not in done.stdout
    for block in done.stdout.split("\n\n")[1::2]:
        bars = {line.replace(r"\|", "").count("|") for line in block.splitlines()}
        assert len(bars) == 1, block


def test_files(board: Run, scores: Path) -> None:
    options = (scores, "--by", "gen", "--quiet")
    done = board(*options, "-o", "x.parquet", "--table")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("overall, 40 prompts")
    table = pq.read_table("x.parquet")
    assert table.column_names == COLUMNS
    assert table.num_rows == 4 * 4
    assert table.schema.field("category").type == pa.string()
    assert json.loads(table.schema.metadata[b"librehps.settings"]) == {"model": "m"}
    assert table["rank"].to_pylist()[:4] == [1, 2, 3, 3]
    assert board(*options, "-o", "x.jsonl").returncode == 0
    written = Path("x.jsonl").read_text().splitlines()
    assert [list(json.loads(line)) for line in written] == [COLUMNS] * 16
    assert board(*options, "-o", "-").stdout.splitlines() == written
    assert board(*options, "-o", "x.csv").returncode == 0
    header, *lines = Path("x.csv").read_text().splitlines()
    assert header.replace('"', "").split(",") == [*json.loads(written[0])]
    assert len(lines) == len(written)
    again = board(*options, "-o", "x.jsonl")
    assert (again.returncode, again.stdout) == (2, "")
    assert "x.jsonl already exists" in again.stderr
    assert board(*options, "-o", "x.jsonl", "--overwrite").returncode == 0


def test_stdin_and_parts(board: Run, scores: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows().to_pylist())
    piped = board("-", "--by", "gen", stdin=lines)
    assert [json.loads(line)["axis"] for line in piped.stdout.splitlines()] == list(AXES[:4])
    Path("parts").mkdir()
    pq.write_table(rows().slice(0, 50), "parts/0.parquet")
    pq.write_table(rows().slice(50), "parts/1.parquet")
    done = board("parts", "--by", "gen")
    assert done.stdout == board(scores, "--by", "gen").stdout


def test_only_and_folder(board: Run, scores: Path) -> None:
    done = board(scores, "--by", "folder", "--only", "0", "--only", "2")
    overall = json.loads(done.stdout.splitlines()[0])
    assert [s["generator"] for s in overall["standings"]] == ["2", "0"]
    done = board(scores, "--by", "gen", "--only", "base", "--only", "bse")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: generator not found: bse\nhint: Choose from: [red]loud")


def test_what_does_not_count_is_said(board: Run, scores: Path) -> None:
    table = rows().slice(2)
    status = ["error", *["ok"] * (len(table) - 1)]
    at = table.column_names.index("status")
    pq.write_table(table.set_column(at, "status", pa.array(status)), scores)
    done = board(scores, "--by", "gen", "--table")
    assert done.returncode == 0
    assert done.stdout.startswith("overall, 39 prompts")
    assert done.stderr.splitlines() == [
        r"warning: skipped prompts that not every generator has: bell\x07\x1b[31m 1",
        "warning: skipped rows with errors: [red]loud[/red] 1",
    ]
    assert board(scores, "--by", "gen", "--table", "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "Missing option '--by'"),
        ("--by model", "error: no column model; expected one of: id, media, prompt, gen"),
        ("--by gen --category cat", "error: no column cat"),
        ("--by gen --axis beauty", "error: no axis beauty\nhint: There are: overall"),
        ("--by gen --axis temporal", "error: no row has a score on temporal"),
        ("--by gen --only base", "error: expected two or more generators, got one: base"),
        ("--by gen --resamples 10", "Invalid value for '--resamples'"),
        ("--by gen --seed -1", "Invalid value for '--seed'"),
        ("--by gen -o x.txt", "use .parquet, .jsonl, .csv, .tsv, or - for stdout"),
        ("--by id", "error: no prompt has a score on overall from every generator"),
    ],
)
def test_usage(board: Run, scores: Path, options: str, message: str) -> None:
    done = board(scores, *options.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_hold_no_leaderboard(board: Run, scores: Path) -> None:
    tables = {
        "holds no rows": (1, rows().slice(0, 0)),
        "all 160 rows of x.parquet are errors": (1, changed("status", ["error"] * 160)),
        "expected two or more generators, got one: base": (2, rows().slice(0, 1)),
        "3 of 160 rows have no generator: no value": (2, changed("gen", [None, "", " "])),
        "x.parquet lacks the columns prompt": (2, rows().drop_columns("prompt")),
        "x.parquet lacks the columns media, status, prompt": (2, pa.table({"gen": ["a"]})),
        "rows of 2 different settings": (2, changed("settings", ["ba9876543210"])),
        "the column overall_mu holds text, not numbers ('x'; expected a number": (
            2, changed("overall_mu", ["1"] * 159 + ["x"])
        ),
    }  # fmt: skip
    for message, (code, table) in tables.items():
        pq.write_table(table, "x.parquet")
        done = board("x.parquet", "--by", "gen")
        assert (done.returncode, done.stdout) == (code, ""), message
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_names_shortened_in_the_middle() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("abcdefghij", 7) == "ab…ghij"
    assert shorten("abcdefghij", 6) == "a…ghij"
    assert shorten("abcdefghij", 1) == "…"
    assert shorten("a\x1b[31mb", 20) == r"a\x1b[31mb"
    assert shorten("モデルモデル", 7) == "モ…デル"
    assert cell_len(shorten("モデルモデル", 6)) <= 6
