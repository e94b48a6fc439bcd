"""Scored files that are read a column at a time: decisions equal those on whole tables."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import librehps
from librehps.decide import shared_prompts
from librehps.decide.generators import GeneratorTable
from librehps.decide.where import rows_where
from librehps.scores import json_table, read, reorder, scored_file
from librehps.scores.file_table import FileTable
from librehps.scores.read import read_table
from librehps.scores.select import sorted_labels
from librehps.scores.table import write_table

ROWS = 150
Files = Callable[[pa.Table], list[Path]]


def random_table(seed: int) -> pa.Table:
    """Scored rows with nulls, NaN, equal scores, errors and long prompts, in a random order."""
    rng = np.random.default_rng(seed)

    def some(values: Sequence[Any], kind: Any = None) -> pa.Array:
        return pa.array([values[i] for i in rng.integers(0, len(values), ROWS)], kind)

    mu = rng.integers(-3, 4, ROWS).astype(np.float32)
    mu[rng.random(ROWS) < 0.05] = np.nan
    mus = pa.array(mu, mask=rng.random(ROWS) < 0.05)
    prompts = [f"{'a long prompt ' * 20}{i}" for i in range(12)]
    return pa.table(
        {
            "id": [f"{'ab'[i % 2]}/{i}.png" for i in range(ROWS)],
            "media": [f"{'ab'[i % 2]}/{i}.png" for i in range(ROWS)],
            "kind": some(["image", "video"]),
            "prompt": some(prompts),
            "group": some([None, None, "g", prompts[0]], pa.string()),
            "overall": pa.array(1 / (1 + np.exp(-mu)), mask=np.asarray(mus.is_null())),
            "overall_mu": mus,
            "status": some(["ok"] * 9 + ["error"]),
            "error_type": some([None, "MediaError"], pa.string()),
            "gen": some(["x", "y", "z"]),
            "day": some(["2026-01-01", "2026-02-01"]),
            "n": some([None, 1, 2, 10**12], pa.int64()),
        }
    )


def shown(table: librehps.ScoreTable) -> list[str]:
    """The types and rows of a table as text, in which NaN equals NaN."""
    return [str(table.table.schema), *map(repr, table.rows())]


def as_parquet(folder: Path, table: pa.Table) -> list[Path]:
    pq.write_table(table, folder / "s.parquet", row_group_size=40)
    return [folder / "s.parquet"]


def as_parts(folder: Path, table: pa.Table) -> list[Path]:
    """A folder of parts, one of which lacks a column and one of which has another type."""
    parts = folder / "parts"
    parts.mkdir()
    pq.write_table(table.slice(0, 50), parts / "0.parquet", row_group_size=30)
    middle = table.slice(50, 60).drop_columns(["day"])
    pq.write_table(middle, parts / "1.parquet", use_dictionary=False)
    last = table.slice(110)
    last = last.set_column(last.column_names.index("n"), "n", last["n"].cast(pa.float64()))
    pq.write_table(last, parts / "2.parquet")
    return [parts]


def as_json(folder: Path, table: pa.Table) -> list[Path]:
    write_table(table, {}, folder / "s.jsonl")
    return [folder / "s.jsonl"]


@pytest.fixture(params=[as_parquet, as_parts, as_json])
def both(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[pa.Table], tuple[librehps.ScoreTable, librehps.ScoreTable]]:
    """A function that writes a table and reads the files whole, and a column at a time."""

    def read_both(table: pa.Table) -> tuple[librehps.ScoreTable, librehps.ScoreTable]:
        paths = request.param(tmp_path, table)
        whole = librehps.ScoreTable(read_table(paths)[0])
        for module in (json_table, read):
            monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", 0)
        monkeypatch.setattr(json_table, "BLOCK_BYTES", 10_000)
        for module in (scored_file, reorder):
            monkeypatch.setattr(module, "BATCH_ROWS", 16)
        # Texts as dictionaries, as in files of many rows.
        monkeypatch.setattr(scored_file, "MAX_REPEATED_BYTES", 1 << 10)
        monkeypatch.setattr(reorder, "MAX_BYTES_IN_MEMORY", 0)
        lazy = librehps.read_scores(paths)
        assert isinstance(lazy.source, FileTable)
        return whole, lazy

    return read_both


def test_decisions_equal_those_on_whole_tables(both: Any) -> None:
    whole, lazy = both(random_table(0))
    assert shown(lazy) == shown(whole)
    for conditions in (
        {"min": {"overall": 0.5}, "max": {"n": 10**12}},
        {"top": "10%", "per": "prompt"},
        {"top": 2, "per": "group", "by": "n", "invert": True},
        {"top": 7, "min": {"overall_mu": 1}},
    ):
        expected, found = (librehps.filter_rows(table, **conditions) for table in (whole, lazy))
        assert shown(found) == shown(expected)
        assert shown(found.errors()) == shown(expected.errors())
    for per, top in ((None, 1), ("prompt", 3), ("folder", 2), ("all", 5), ("gen", 2), ("n", 1)):
        outcomes = []
        for table in (whole, lazy):
            kept = table if per != "n" else librehps.filter_rows(table, min={"n": 0})
            outcomes.append(librehps.best_of_n(kept, per=per, top=top))
        assert shown(outcomes[1].table) == shown(outcomes[0].table)
        assert list(outcomes[1].picks) == list(outcomes[0].picks)
        assert outcomes[1].groups.labels.to_pylist() == outcomes[0].groups.labels.to_pylist()
    # Rows that are left out have generators and prompts that no other row has.
    for where in (
        {},
        {"gen": ["x", "z"]},
        {"prompt": whole.table["prompt"].unique()[1:9].tolist()},
    ):
        boards = [
            librehps.leaderboard(
                rows_where(table, where), "gen", category="kind", resamples=20
            ).records()
            for table in (whole, lazy)
        ]
        assert boards[1] == boards[0]


def test_codes_have_no_gaps() -> None:
    """Distinct texts among nulls, and dictionaries with values that no row has."""
    texts = pa.array(["b", None, "a", "c"])
    for column in (texts, texts.dictionary_encode(), pa.array(["x", "b", None, "a"])):
        kept = pa.table({"gen": column.filter(pa.array([False, True, True, True]))})
        codes, labels = sorted_labels(kept, "gen", lambda part: part["gen"].cast(pa.string()))
        assert [None if at < 0 else labels[at] for at in codes] == kept["gen"].to_pylist()
        assert labels == sorted(set(kept["gen"].drop_null().to_pylist()))


def test_files_that_are_written(both: Any, tmp_path: Path) -> None:
    whole, lazy = both(random_table(7))
    for name in ("o.parquet", "o.jsonl"):
        for table, folder in ((whole, "w"), (lazy, "l")):
            (tmp_path / folder).mkdir(exist_ok=True)
            librehps.filter_rows(table, ok_only=True).write(tmp_path / folder / name)
            librehps.best_of_n(table, top=4).write(tmp_path / folder / f"best-{name}")
        for file in (name, f"best-{name}"):
            one, two = (librehps.read_scores(tmp_path / folder / file) for folder in "wl")
            assert shown(two) == shown(one)


def test_columns_that_are_not_needed_are_not_read(both: Any, monkeypatch: Any) -> None:
    _, lazy = both(random_table(0))
    seen: set[str] = set()
    batches = FileTable.batches

    def watched(self: FileTable, names: Sequence[str], encoded: bool = False) -> Any:
        seen.update(names)
        return batches(self, names, encoded)

    monkeypatch.setattr(FileTable, "batches", watched)
    assert len(librehps.filter_rows(lazy, min={"overall": 0.5}))
    assert seen == {"status", "overall"}


LINES = [
    '{"a": 1, "b": "2026-01-01", "c": {"z": "2026-01-01", "y": 1}}',
    '{"b": "x", "d": 2.5, "a": null}',
    '{"a": 18446744073709551615}',
    '{"a": 1, "a": 2}',
    '{"a": NaN}',
    '{"a": 1}{"a": 2}',
    '{"e": true, "overall_mu": 1, "width": 3, "frames": [0, 2], "status": null}',
    '{"overall_mu": true}',
    '{"width": 1.5}',
    '{"prompt": 5}',
    '{"prompt": "2026-01-01"}',
    '{"b": "\\ud83d"}',
    "[1]",
    "null",
    "{}",
    '{"f": [9007199254740993, 0.5]}',
    '{"f": [0.5], "g": ' + "[" * 9000 + "]" * 9000 + "}",
    "",
    "  ",
]


@pytest.mark.parametrize("seed", range(40))
def test_json_lines_are_read_as_python_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    chosen = [LINES[i] for i in rng.integers(0, len(LINES), rng.integers(1, 4))]
    file = tmp_path / "s.jsonl"
    file.write_text("\n".join(chosen) + rng.choice(["", "\n"]))
    outcomes = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(json_table, "_fast_table", lambda *_: None)
        try:
            table, _ = read_table([file])
        except (librehps.LibreHPSError, TypeError) as error:
            outcomes.append(type(error).__name__)
        else:
            rows = [json.dumps(row) for row in table.to_pylist()]
            outcomes.append((str(table.schema.remove_metadata()), rows))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("block", [10, 1 << 20])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        (('"own": 1.5', '"own": true'), "line 3: column own: expected"),
        (('"overall_mu": 1.5', '"overall_mu": true'), "line 3: column overall_mu: expected a num"),
        (('"own": true', '"own": "a"'), "line 3: column own: expected"),
        (('"own": 1', '"own": 2}}'), "line 3: invalid JSON"),
    ],
)
def test_json_value_of_another_type_is_an_error_with_its_line_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[str], told: str, block: int
) -> None:
    """The line is in a block with other lines, or in a block of its own."""
    monkeypatch.setattr(json_table, "BLOCK_BYTES", block)
    file = tmp_path / "s.jsonl"
    file.write_text("".join(f'{{"id": "a", {one}}}\n' for one in (values[0], *values)))
    with pytest.raises(librehps.LibreHPSError, match=told):
        read_table([file])


def test_resamples_of_many_prompts_are_drawn_as_normal_sums(monkeypatch: Any) -> None:
    """The intervals agree with those of the bootstrap within its noise."""
    rng = np.random.default_rng(0)
    mu = rng.normal(loc=[0, 0.1, 0.5], size=(2000, 3))
    table = pa.table(
        {
            "id": [f"{i}" for i in range(6000)],
            "media": [f"{i}.png" for i in range(6000)],
            "prompt": [f"p{i // 3}" for i in range(6000)],
            "gen": [f"g{i % 3}" for i in range(6000)],
            "status": ["ok"] * 6000,
            "overall": 1 / (1 + np.exp(-mu.ravel())),
            "overall_mu": mu.ravel(),
        }
    )
    shared = shared_prompts.share(GeneratorTable(table, "gen").scored("overall"), 3)
    exact = shared.sums(2000, 0)[1]
    monkeypatch.setattr(shared_prompts, "MAX_RESAMPLED_PROMPTS", 100)
    normal = shared.sums(2000, 0)[1]
    for one, two in ((exact.wins, normal.wins), (exact.means, normal.means)):
        spread = one.std(axis=0)
        assert np.all(np.abs(one.mean(axis=0) - two.mean(axis=0)) < 0.15 * spread)
        assert np.allclose(two.std(axis=0), spread, rtol=0.1)
