"""Rows chosen by the text of a column, and groups of folders."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import librehps
from conftest import Cli
from librehps.decide.groups import group_by
from librehps.decide.where import meeting, parse_where
from librehps.engine.decode import Decoded, Decoder
from librehps.errors import UsageError
from librehps.media.media import Media
from librehps.types import Item
from make_media import picture

NAMES = ["aurora", "borealis", None, "aurora", "", "cirrus"]


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "id": [f"{'ab'[at % 2]}/{at}.png" for at in range(6)],
            "media": [f"{'ab'[at % 2]}/{at}.png" for at in range(6)],
            "prompt": ["x", "x", "x", "y", "y", "y"],
            "overall": pa.array([0.6, 0.7, None, 0.8, 0.3, 0.9], pa.float32()),
            "overall_mu": pa.array([0.6, 0.7, None, 0.8, 0.3, 0.9], pa.float32()),
            "status": ["ok", "ok", "error", "ok", "ok", "ok"],
            "maker": NAMES,
            "kind": pa.array(NAMES).dictionary_encode(),
            "seed": [1, 2, 1, None, 3, 1],
            "step": [1.0, 2.5, 1.0, None, 3.0, 1.0],
            "is_good": [True, False, True, None, True, False],
            "frames": [[0]] * 6,
        }
    )


@pytest.mark.parametrize("column", ["maker", "kind"])
def test_text_is_compared_exactly(table: pa.Table, column: str) -> None:
    def rows(*conditions: str) -> list[int]:
        mask = meeting(table, parse_where(text.format(column) for text in conditions))
        return [at for at, held in enumerate(mask) if held]

    assert rows("{}=aurora") == [0, 3]
    assert rows("{}=aurora", "{}=cirrus") == [0, 3, 5], "values of one column are alternatives"
    assert rows("{}=auror") == rows("{}=Aurora") == []
    assert rows("{}=") == [2, 4], "no value, and empty text"
    assert rows("{}!=aurora") == [1, 2, 4, 5]
    assert rows("{}!=aurora", "{}!=cirrus", "prompt=y") == [4]
    assert rows("prompt=y", "{}=aurora") == [3], "those of several columns hold together"


def test_numbers_and_booleans(table: pa.Table) -> None:
    def rows(*conditions: str) -> list[int]:
        return meeting(table, parse_where(conditions)).nonzero()[0].tolist()

    assert rows("seed=1") == rows("seed=1.0") == rows("step=1") == [0, 2, 5]
    assert rows("step=2.5", "step=3") == [1, 4]
    assert rows("seed=") == [3]
    assert rows("seed!=1") == [1, 3, 4]
    assert rows("is_good=true") == [0, 2, 4]
    mapped = meeting(table, parse_where({"maker": ["aurora", "cirrus"], "prompt": "y"}))
    assert mapped.nonzero()[0].tolist() == [3, 5]
    as_numbers = meeting(table, parse_where({"seed": 1, "step": [1.0, 3]}))
    assert as_numbers.nonzero()[0].tolist() == [0, 2, 5]
    assert rows("is_good=True") == [0, 2, 4] and rows("is_good=") == [3]
    assert rows("seed=1.5") == rows("seed=99999999999999999999") == []


def test_numbers_are_compared_as_the_column_holds_them() -> None:
    """Doubles hold neither every integer nor the float32 that is nearest to 0.7."""
    table = pa.table({
        "id": [2**53, 2**53 + 1],
        "unsigned": pa.array([2**64 - 2, 2**64 - 1], pa.uint64()),
        "half": pa.array([0.7, 0.5], pa.float32()),
    })  # fmt: skip
    for condition, expected in (
        (f"id={2**53 + 1}", [False, True]),
        (f"id!={2**53}", [False, True]),
        (f"unsigned={2**64 - 1}", [False, True]),
        ("unsigned=-1", [False, False]),
        ("half=0.7", [True, False]),
    ):
        assert meeting(table, parse_where([condition])).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("maker", "--where: expected COLUMN=VALUE, got 'maker'"),
        ("=x", "--where: expected COLUMN=VALUE, got '=x'"),
        ("nobody=x", "no column nobody; expected one of: id, media"),
        ("seed=x", "the column seed holds numbers, got x"),
        ("is_good=yes", "the column is_good holds booleans, got yes"),
        ("frames=0", "the column frames holds list"),
    ],
)
def test_conditions_that_make_no_sense(table: pa.Table, condition: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        meeting(table, parse_where([condition], "--where"))
    assert message in str(error.value)


@pytest.fixture
def file(table: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in table["media"].to_pylist():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    pq.write_table(table, tmp_path / "s.parquet")
    return tmp_path / "s.parquet"


def test_commands_take_the_rows_that_meet_conditions(cli: Cli, file: Path) -> None:
    assert cli("filter", file, "--where", "maker=aurora").stdout == "a/0.png\nb/3.png\n"
    done = cli("filter", file, "--where", "maker=aurora", "--invert")
    assert done.stdout == "b/1.png\na/2.png\na/4.png\nb/5.png\n"
    best = cli("best-of-n", file, "--per", "prompt", "--where", "maker!=cirrus")
    assert (best.returncode, best.stdout) == (0, "b/1.png\nb/3.png\n")
    assert "1 row with errors left out" in best.stderr
    board = cli("leaderboard", file, "--by", "maker", "--where", "maker=aurora", "--json")
    assert "expected two or more generators, got one: aurora" in board.stderr
    kept = librehps.filter_rows(librehps.read_scores(file), where={"seed": "1"})
    assert kept.table["id"].to_pylist() == ["a/0.png", "b/5.png"], "no row with an error"


def test_folders_are_groups_in_filter_too(cli: Cli, file: Path) -> None:
    done = cli("filter", file, "--top", 1, "--per", "folder")
    assert done.stdout == "a/0.png\nb/5.png\n"
    best = cli("best-of-n", file, "--per", "folder")
    assert best.stdout == done.stdout
    assert cli("filter", file, "--top", 1, "--per", "all").stdout == "b/5.png\n"


def test_files_inside_tars_lie_in_their_tar() -> None:
    media = ["x/1.tar::b.png", "x/2.tar::b.png", "x/2.tar::s/b.png", "x/b.png", "b.png"]
    table = pa.table({"id": media, "media": media})
    folders = group_by(table, "folder").labels.to_pylist()
    assert folders == ["x/1.tar", "x/2.tar", "x/2.tar::s", "x", "."]


def test_media_that_do_not_meet_conditions_are_not_scored(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["image,prompt,maker"]
    for at in range(4):
        picture(32, 32, seed=at).save(f"{at}.png")
        lines.append(f"{at}.png,red,{'ab'[at % 2]}")
    Path("m.csv").write_text("\n".join(lines))
    seen = list[str]()
    decode = Decoder.decode

    def decoded(self: Decoder, item: Item, content: Media | None = None) -> Decoded:
        seen.append(item.id)
        return decode(self, item, content)

    monkeypatch.setattr(Decoder, "decode", decoded)

    def run(*conditions: str) -> tuple[int, str]:
        seen.clear()
        flags = [text for one in conditions for text in ("--where", one)]
        done = cli("best-of-n", "m.csv", "-m", "tiny", "--top", 4, *flags)
        return done.returncode, done.stderr

    assert run("maker=b") == (0, run("maker=b", "status=ok", "prompt=red")[1])
    assert sorted(seen) == ["1.png", "3.png"]
    for condition, code, message in [
        ("makr=b", 2, "no column makr"),
        ("maker=c", 1, "no row of the items meets --where maker=c"),
        ("maker!=", 0, ""),
    ]:
        found = run(condition)
        assert (found[0], message in found[1]) == (code, True)
        assert len(seen) == (0 if code else 4)
    assert run("kind=video")[0] == 1
