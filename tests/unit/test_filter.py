"""Rows that pass a filter, and targets for copies of media."""

import datetime
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from librehps.decide.filter import Limit, Top, parse_limit, passing
from librehps.decide.naming import with_scores
from librehps.decide.place import place
from librehps.decide.quantiles import rank_values, ranks_within
from librehps.errors import MediaNotFoundError, OutputError, UsageError
from librehps.scores.score_table import ScoreTable
from librehps.scores.select import check_scored

MU = [0.5, 2.0, None, 2.0, -1.0, 3.0]


@pytest.fixture
def table() -> pa.Table:
    """Six rows of two prompts; the third has an error, the last no overall_mu that is a number."""
    mu = pa.array([*MU[:5], float("nan")], pa.float32())
    return pa.table(
        {
            "media": list("abcdef"),
            "prompt": ["x", "x", "x", "y", "y", "y"],
            "group": pa.array([None, None, None, "x", "x", None]),
            "overall": pa.array([0.6, 0.7, None, 0.7, 0.3, 0.9], pa.float32()),
            "overall_mu": mu,
            "temporal": pa.nulls(6),
            "seed": [2**53 + 1, 2**53, 7, 2**53 + 2, 0, -5],
            "price": pa.array([1, 2, 3, 4, 5, 6]).cast(pa.decimal128(21, 2)),
            "kind": pa.array(["i", "v", "i", "v", "i", "v"]).dictionary_encode(),
            "frames": [[0, 1]] * 6,
            "day": [datetime.date(2024, 1, 1 + i // 2) for i in range(6)],
            "status": ["ok", "ok", "error", "ok", "ok", "ok"],
        }
    )


def chosen(table: pa.Table, *limits: Limit, top: Top | None = None) -> str:
    return "".join(table.filter(pa.array(passing(table, limits, top)))["media"].to_pylist())


def least(column: str, value: float) -> Limit:
    return Limit(column, value, is_min=True)


def most(column: str, value: float) -> Limit:
    return Limit(column, value, is_min=False)


def test_limits_hold_their_ends_and_never_nulls(table: pa.Table) -> None:
    assert chosen(table) == "abdef", "a row with an error passes nothing"
    # Neither 0.7 nor 0.3 is a float32: the limit is meant as the column holds it.
    assert chosen(table, least("overall", 0.7)) == "bdf"
    assert chosen(table, most("overall", 0.3)) == "e"
    assert chosen(table, least("overall", 0.6), most("overall", 0.7)) == "abd"
    assert chosen(table, most("overall_mu", 1e300)) == "abde"
    assert chosen(table, least("temporal", 0)) == ""
    assert chosen(table, least("price", 4.5)) == "ef"
    assert chosen(table, least("seed", 1)) == "abd"


def test_limits_of_integers_are_exact(table: pa.Table) -> None:
    _, bound = parse_limit(f"seed={2**53 + 1}")
    assert chosen(table, least("seed", bound)) == "ad"
    assert chosen(table, most("seed", bound)) == "abef"
    assert chosen(table, least("seed", 2**53 + 2.0)) == "d"
    assert chosen(table, least("seed", -0.5), most("seed", 0.5)) == "e"
    assert chosen(table, least("seed", -1e300), most("seed", 2**70)) == "abdef"
    assert chosen(table, least("seed", 2**70)) == chosen(table, most("seed", float("nan"))) == ""


def test_the_best_and_of_equals_the_first(table: pa.Table) -> None:
    assert chosen(table, top=Top(1)) == "b"
    assert chosen(table, top=Top(2)) == "bd"
    assert chosen(table, top=Top(99)) == "abde", "NaN has no rank"
    assert chosen(table, most("overall", 0.65), top=Top(1)) == "a"
    assert chosen(table, top=Top(2, by="seed")) == "ad", "integers beyond those of a double"
    assert chosen(table, top=Top(2, by="price")) == "ef"


def test_infinity_is_no_value() -> None:
    values = [float("inf"), 2.0, float("nan"), float("-inf"), 1.0]
    rows = pa.table({"media": list("abcde"), "status": ["ok"] * 5, "x": values})
    assert chosen(rows, least("x", 0)) == chosen(rows, most("x", 3)) == "be"
    assert chosen(rows, top=Top(1, by="x")) == "b"
    ranks = rank_values(np.array(values), np.zeros(5, np.int64))
    assert ranks.rank.tolist() == [0, 1, 0, 0, 2]
    assert with_scores(list("abcde"), values) == ["a", "2.000_b", "c", "d", "1.000_e"]


def test_within_each_group(table: pa.Table) -> None:
    assert chosen(table, top=Top(1, per="prompt")) == "bd"
    # A prompt that is called like a group is none of its members.
    assert chosen(table, top=Top(1, per="group")) == "bd"
    assert chosen(table, top=Top(1, by="seed", per="group")) == "adf"
    assert chosen(table, top=Top(1, per="kind")) == "ab"
    assert chosen(table, top=Top(1, by="price", per="day")) == "bdf"
    assert chosen(table, top=Top(1, per="temporal")) == "b", "nulls are a group"
    with pytest.raises(UsageError, match="cannot group rows by column frames"):
        chosen(table, top=Top(1, per="frames"))


def test_percentages_round_up_and_exactly() -> None:
    assert Top(percent=Fraction(10)).quota(30) == 3
    assert Top(percent=Fraction("0.1")).quota(5) == 1
    assert Top(percent=Fraction(100)).quota(7) == 7
    assert Top(percent=Fraction("33.3")).quota(1000) == 333


def test_a_percentage_of_each_group(table: pa.Table) -> None:
    half = Top(percent=Fraction(50), by="price", per="prompt")
    assert chosen(table, top=half) == "bef", "of 2 rows one, of 3 two"


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_against_sorting_in_python(chunks: int) -> None:
    rng = np.random.default_rng(chunks)
    size = 600
    mu, prompt = rng.integers(0, 20, size) / 4, rng.integers(0, 40, size).astype(str)
    whole = pa.table({"status": ["ok"] * size, "overall_mu": mu, "prompt": prompt})
    cuts = np.linspace(0, size, chunks + 1).astype(int)
    parts = [whole.slice(a, b - a) for a, b in pairwise(cuts)]
    # Each part with its own dictionary, as files written apart have.
    parts = [p.set_column(2, "prompt", p["prompt"].dictionary_encode()) for p in parts]
    found = passing(pa.concat_tables(parts), top=Top(3, per="prompt"))
    expected = set()
    for name in set(prompt):
        rows = [i for i in range(size) if prompt[i] == name]
        expected.update(sorted(rows, key=lambda i: -mu[i])[:3])
    assert set(np.flatnonzero(found)) == expected


def test_wrong_columns_name_the_right_ones(table: pa.Table) -> None:
    with pytest.raises(UsageError, match=r"no column colour; expected one of: overall, overall_mu"):
        chosen(table, least("colour", 1))
    with pytest.raises(UsageError, match=r"the column prompt holds text, not numbers"):
        chosen(table, top=Top(1, by="prompt"))
    with pytest.raises(UsageError, match=r"no column style_mu"):
        chosen(table, top=Top(1, by="style"))
    with pytest.raises(UsageError, match=r"no column kin; expected one of: media, prompt"):
        chosen(table, top=Top(1, per="kin"))
    twice = table.append_column("seed", table["seed"])
    with pytest.raises(UsageError, match="duplicate column seed"):
        chosen(twice, least("seed", 1))


def test_text_of_a_csv_manifest_compares_as_numbers(table: pa.Table) -> None:
    def with_steps(*steps: str | None) -> pa.Table:
        return table.append_column("steps", pa.array(steps))

    steps = with_steps("007", "20", "3", None, " 1e2 ", "")
    assert chosen(steps, least("steps", 8)) == "be"
    assert chosen(steps, top=Top(2, by="steps")) == "be"
    assert chosen(steps, most("steps", 7)) == "a", "a row without a value never passes"
    assert steps["steps"][0].as_py() == "007", "the column itself stays text"
    with pytest.raises(UsageError, match=r"column steps holds text, not numbers \('n/a'; expected"):
        chosen(with_steps("1", "2", "3", "n/a", "x", ""), least("steps", 1))


@pytest.mark.parametrize("at", [53, 63])
def test_whole_numbers_in_text_compare_with_all_their_digits(table: pa.Table, at: int) -> None:
    seeds = [2**at + 1, 2**at, 7, 2**at + 2, 0, 5]
    rows = table.drop_columns("seed").append_column("seed", pa.array(map(str, seeds)))
    _, bound = parse_limit(f"seed={2**at + 1}")
    assert chosen(rows, least("seed", bound)) == "ad"
    assert chosen(rows, most("seed", bound)) == "abef"
    assert chosen(rows, top=Top(1, by="seed")) == "d"
    ranks = ranks_within(ScoreTable(rows, origin="x"), "seed", "all")
    assert ranks.rank.tolist() == [2, 3, 4, 1, 6, 5]


def test_no_rows(table: pa.Table) -> None:
    empty = table.slice(0, 0)
    check_scored(empty, "x")
    for top in (None, Top(1), Top(percent=Fraction(1), per="group")):
        assert chosen(empty, least("overall", 0), top=top) == ""
    assert chosen(pa.Table.from_batches([], table.schema), top=Top(1, per="kind")) == ""


def test_what_is_no_scored_table(table: pa.Table) -> None:
    with pytest.raises(UsageError, match=r"s\.parquet lacks the columns media, status"):
        check_scored(pa.table({"id": ["a"]}), "s.parquet")
    with pytest.raises(UsageError, match="1 of 2 rows in x have no status"):
        check_scored(pa.table({"media": ["a", "b"], "status": ["ok", None]}), "x")


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with in/a.png and in/b.png."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in "ab":
        Path(f"in/{name}.png").write_text(name)
    return tmp_path


SOURCES = ["in/a.png", "in/b.png"]


def placed(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_copies(media: Path) -> None:
    Path("in/a.png").chmod(0o600)
    place(SOURCES, ["a.png", "deep/er/b.png"], Path("new/out"))
    assert placed(media / "new/out") == ["a.png", "deep/er/b.png"]
    assert (media / "new/out/deep/er/b.png").read_text() == "b"
    assert (media / "new/out/a.png").stat().st_mode & 0o777 == 0o600
    assert not (media / "new/out/a.png").is_symlink()


def test_links(media: Path) -> None:
    Path("out").mkdir()
    place(SOURCES, ["a.png", "sub/b.png"], Path("out"), "link")
    link = media / "out/sub/b.png"
    assert link.is_symlink()
    assert os.readlink(link) == str(media / "in/b.png")
    assert link.read_text() == "b"


@pytest.mark.parametrize(
    "name", ["../b.png", "x/../../b.png", "/b.png", "", ".", "..", "a/..", "b\0.png"]
)
@pytest.mark.parametrize("link", [False, True])
def test_ids_that_lead_outside(media: Path, name: str, link: bool) -> None:
    with pytest.raises(OutputError, match="is not the name of a file inside out"):
        place(SOURCES, ["a.png", name], Path("out"), "link" if link else "copy")
    assert not Path("out").exists()


@pytest.mark.parametrize("to", ["../in", "../gone", "/"])
def test_links_that_lead_outside(media: Path, to: str) -> None:
    Path("out/sub").mkdir(parents=True)
    Path("out/sub/away").symlink_to(f"../{to}" if to != "/" else to)
    with pytest.raises(OutputError, match="leads out of out"):
        place(SOURCES, ["a.png", "sub/away/b.png"], Path("out"))
    assert placed(media / "out") in (["sub/away"], [])
    assert placed(media / "in") == ["a.png", "b.png"]


def test_a_link_within_and_a_folder_that_is_a_link(media: Path) -> None:
    Path("real/sub").mkdir(parents=True)
    Path("real/alias").symlink_to("sub")
    Path("out").symlink_to("real")
    place(SOURCES, ["alias/a.png", "sub/b.png"], Path("out"))
    assert placed(media / "real/sub") == ["a.png", "b.png"]
    with pytest.raises(OutputError, match="duplicate target"):
        place(SOURCES, ["alias/c.png", "sub/c.png"], Path("out"))


def test_nothing_is_overwritten(media: Path) -> None:
    Path("out").mkdir()
    Path("out/b.png").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"out/b.png already exists$"):
        place(SOURCES, ["a.png", "b.png"], Path("out"))
    assert placed(media / "out") == ["b.png"]
    with pytest.raises(OutputError, match=r"duplicate target .*'c' and './c'"):
        place(SOURCES, ["c", "./c"], Path("out"))
    with pytest.raises(OutputError, match="need a file and a folder"):
        place(SOURCES, ["c/d", "c"], Path("out"), "link")


def test_missing_media(media: Path) -> None:
    with pytest.raises(MediaNotFoundError, match=r"no such file: in/gone.png, and 1 more"):
        place(["in/gone.png", "in"], ["b", "c"], Path("out"))
    assert not Path("out").exists()
    done = place(["in/gone.png", "in/a.png"], ["b", "a"], Path("out"))
    assert (done.files, dict(done.failed)) == (1, {"b": "no such file: in/gone.png"})
    assert placed(media / "out") == ["a"]


@pytest.mark.parametrize("folder", ["in/a.png", "in/a.png/deeper", "dangling"])
def test_no_folder(media: Path, folder: str) -> None:
    Path("dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match="is not a folder"):
        place(SOURCES, ["a", "sub/b"], Path(folder))
    assert not Path("nowhere").exists()


def test_half_a_copy_does_not_stay(media: Path) -> None:
    with pytest.raises(OutputError, match="cannot copy") as caught:
        place(SOURCES, ["a", "n" * 300], Path("out"))
    assert caught.value.hint == "1 of 2 files are done. Remove them before a retry."
    assert placed(media / "out") == ["a"]
