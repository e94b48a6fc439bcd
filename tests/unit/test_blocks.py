"""Blocks that a cluster scores while the source is being listed, with an actor in this process."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import Item, LibreHPS
from librehps.errors import BrokenMediaError, EngineError, UsageError
from librehps.items import item_columns
from librehps.items.ids import SeenIds, unique
from librehps.items.item_columns import ItemColumns, columns_of
from librehps.runs import blocks, listing
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.parts_job import PartsJob
from librehps.runs.ray import block_shares, while_listing
from librehps.runs.ray.actor import Place
from librehps.runs.ray.block_shares import BlockShares
from librehps.runs.ray.connection import Head
from librehps.runs.ray.engine import RayEngine
from librehps.runs.ray.pool import Member
from librehps.scores.markers import journal_folder
from librehps.scores.parts import part_files, part_source
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import ImageScore, ScoreAxis, ScoredRow

CHUNK, BLOCK, TOTAL = 128, 32, 300


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (listing, while_listing):
        monkeypatch.setattr(module, "CHUNK_ITEMS", CHUNK)
    for module in (blocks, block_shares):
        monkeypatch.setattr(module, "BLOCK_ROWS", BLOCK)


class Source:
    """Items of which the last waits until blocks are scored; a column appears late."""

    has_prompts = False

    def __init__(self, scored: threading.Event, last: str = "last") -> None:
        self.scored, self.last = scored, last

    def item_columns(self) -> Iterator[ItemColumns]:
        return map(columns_of, item_columns.blocks(unique(SeenIds(), self._items()), CHUNK))

    def _items(self) -> Iterator[Item]:
        for at in range(TOTAL - 1):
            yield Item(f"{at}", Path(f"{at}.png"), "x", "image", extra={"n": at})
        assert self.scored.wait(20)
        yield Item(self.last, Path("last.png"), "x", "image", extra={"n": 0.5, "late": "yes"})

    def facts(self) -> dict:
        return {"own_columns": {"n": "double", "late": "text"}, "has_prompts": False, "skipped": 0,
                "containers": [], "dropped": []}  # fmt: skip


class HerePool:
    """A pool of one actor in this process, which dies with block `deadly` and fails every tenth."""

    def __init__(self, settings, after: int = 3, deadly: int | None = None) -> None:
        self.settings, self.after, self.deadly = settings, after, deadly
        self.scored, self.units, self.asked = threading.Event(), [], []
        self.ready = [Member(None, Place("a", "node a"), is_ready=True)]

    def keep_up(self) -> None:
        pass

    def tell_warnings(self, *_: object) -> None:
        pass

    def send(self, member: Member, unit: Unit, writer: PartWriter) -> None:
        member.units.append(unit)
        self.units.append((unit, writer))

    def wait(self, seconds: float) -> Iterator[tuple[Member, Unit, object]]:
        # One answer each time, so that calls are left when the listing ends.
        if self.units:
            unit, writer = self.units.pop(0)
            self.ready[0].units.remove(unit)
            died = unit.is_block and unit.part == self.deadly
            yield self.ready[0], unit, OSError("died") if died else self._result(unit, writer)
            self.after -= 1
            if not self.after:
                self.scored.set()

    def _result(self, unit: Unit, writer: PartWriter) -> UnitResult:
        rows = [self._row(item) for item in writer.items(unit)]
        self.asked += [(row.item.id, unit.is_block) for row in rows]
        result = UnitResult(unit)
        for row in rows:
            result.progress.add(row)
        table = writer.with_blocks(unit, writer.table(rows))
        writer.write(unit, [table], result.progress.failed)
        return result

    def _row(self, item: Item) -> ScoredRow:
        if item.id.endswith("7"):
            return ScoredRow(item, "image", None, error=BrokenMediaError("no"))
        axis = ScoreAxis(mean=0.5, sigma=1.0, raw_mean=0.0)
        return ScoredRow(item, "image", ImageScore(dict.fromkeys(self.settings.axes, axis), 0.0))


def listed(job: PartsJob, pool: HerePool, last: str = "last") -> RayEngine:
    """Begin a run and score blocks meanwhile; return the engine with the calls that are left."""
    engine = RayEngine(pool, Head("", 0))
    engine.head.check = lambda: True
    engine.blocks = BlockShares(job.block_writer(pool.settings))
    with while_listing.scoring_while_listing(Source(pool.scored, last), engine) as source:
        job.begin(pool.settings, {}, source, "default")
    return engine


def assert_whole(output: AnyPath, pool: HerePool) -> None:
    tables = [pq.read_table(part_source(file)) for file in part_files(output)]
    rows = pa.concat_tables(tables).to_pylist()
    assert [row["id"] for row in rows] == [*map(str, range(TOTAL - 1)), "last"]
    assert [row["n"] for row in rows] == [*map(float, range(TOTAL - 1)), 0.5]
    assert [row["late"] for row in rows] == [None] * (TOTAL - 1) + ["yes"]
    assert [row["status"] == "error" for row in rows] == [row["id"].endswith("7") for row in rows]
    # Nothing that was scored in a block that was taken is scored again, but for its errors.
    oks = [name for name, _ in pool.asked if not name.endswith("7")]
    assert sorted(oks) == sorted(row["id"] for row in rows if row["status"] == "ok")


@pytest.mark.parametrize("is_local", [True, False])
def test_blocks_are_rows_of_the_parts(tiny: LibreHPS, tmp_path: Path, is_local: bool) -> None:
    """Every part takes its blocks, whichever calls are left at the end of the listing."""
    output: AnyPath = tmp_path / "out" if is_local else UrlPath("memory://blocks/out")
    pool = HerePool(tiny.settings)
    with PartsJob(output, resume=False) as job:
        engine = listed(job, pool)
        assert not [*part_files(output)]
        before = engine.blocks.progress
        assert before.ok >= 2 * BLOCK and not before.failed
        progress = before
        for result in job.run_parts(engine.run):
            progress.merge(result.progress)
        job.finish(tiny.settings, "default")
    assert any(is_block for _, is_block in pool.asked)
    assert (progress.ok, progress.failed) == (270, 30)
    assert progress.errors == {"BrokenMediaError": 30}
    assert_whole(output, pool)
    assert not journal_folder(output).exists()
    schemas = [pq.read_schema(part_source(file)) for file in part_files(output)]
    assert all(schema.equals(schemas[0]) for schema in schemas)


def test_blocks_of_a_driver_that_was_killed(tiny: LibreHPS, tmp_path: Path) -> None:
    """The next driver uses the blocks."""
    output, pool = tmp_path / "out", HerePool(tiny.settings, deadly=BLOCK)
    with PartsJob(output, resume=False) as job:
        listed(job, pool)
    pool.units.clear()
    pool.ready[0].units.clear()
    with PartsJob(output, resume=True) as job:
        job.begin(tiny.settings, {}, None, "default")
        engine = RayEngine(pool, Head("", 0), blocks=BlockShares.found(job.writer, job.units()))
        engine.head.check = lambda: True
        assert engine.blocks.progress.ok == sum(is_block for _, is_block in pool.asked) - sum(
            name.endswith("7") for name, _ in pool.asked
        )
        for _ in job.run_parts(engine.run):
            pass
        job.finish(tiny.settings, "default")
    assert_whole(output, pool)


def test_an_id_that_is_found_twice_late(tiny: LibreHPS, tmp_path: Path) -> None:
    """Nothing is left of the run: no part, no block."""
    output, pool = tmp_path / "out", HerePool(tiny.settings)
    with (
        pytest.raises(UsageError, match="duplicate id '5'"),
        PartsJob(output, resume=False) as job,
    ):
        listed(job, pool, "5")
    assert pool.asked
    assert list(tmp_path.iterdir()) == []


def test_an_actor_that_cannot_score_ends_the_listing(tiny: LibreHPS, tmp_path: Path) -> None:
    pool = HerePool(tiny.settings)
    pool._result = lambda unit, writer: EngineError("other settings")
    with (
        pytest.raises(EngineError, match="other settings"),
        PartsJob(tmp_path / "out", resume=False) as job,
    ):
        listed(job, pool)
    assert list(tmp_path.iterdir()) == []
