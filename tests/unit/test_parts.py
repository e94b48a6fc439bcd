"""A folder of parts: every row once, whatever comes late, dies or not at all."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import Item, LibreHPS
from librehps.errors import BrokenMediaError, CheckpointError, EngineError, UsageError
from librehps.items.item_columns import ItemColumns, blocks, columns_of
from librehps.runs.options import RayOptions
from librehps.runs.part_writer import PartWriter, Unit, UnitResult
from librehps.runs.parts_job import PartsJob
from librehps.runs.ray import pool as pool_module
from librehps.runs.ray.actor import Blind, Place, ScoreActor, Scoring
from librehps.runs.ray.cluster import ActorLayout
from librehps.runs.ray.connection import Head
from librehps.runs.ray.engine import RayEngine
from librehps.runs.ray.pool import Member, Pool
from librehps.runs.ray.shares import Shares
from librehps.scores.markers import DONE_FILE, UNFINISHED_FILE, journal_folder
from librehps.scores.parts import rows_of_part
from librehps.scores.read import are_scored, read_table
from librehps.types import ScoredRow
from make_media import picture

TOTAL = 150


class Listing:
    """Items that nobody opens."""

    def __init__(self, total: int = TOTAL) -> None:
        self.total = total

    def item_columns(self) -> Iterator[ItemColumns]:
        items = [
            Item(f"{at}", Path(f"{at}.png"), "x", "image", extra={"n": at})
            for at in range(self.total)
        ]
        return map(columns_of, blocks(items))

    def facts(self) -> dict:
        return {"own_columns": {"n": "long"}, "has_prompts": False, "skipped": 0,
                "containers": [], "dropped": []}  # fmt: skip


class Fake:
    """Rows of errors, from the last part to the first; items in `deadly` end their process."""

    def __init__(self, deadly: Iterable[int] = (), stop_at: int | None = None) -> None:
        self.deadly, self.stop_at, self.asked = set(deadly), stop_at, 0

    def __call__(self, units: list[Unit], writer: PartWriter):
        shares = Shares.of(reversed(units), writer)
        while shares.is_open:
            unit = shares.take(is_idle=True, may_queue=False)
            if unit.part == self.stop_at:
                return
            if not unit.lost and self.deadly & {*range(unit.start, unit.end)}:
                shares.died(unit)
            elif result := shares.scored(self.scored(unit, writer)):
                yield result

    def scored(self, unit: Unit, writer: PartWriter) -> UnitResult:
        error = BrokenMediaError("died" if unit.lost else "no")
        rows = [ScoredRow(item, "image", None, error=error) for item in writer.items(unit)]
        result = UnitResult(unit)
        self.asked += len(rows)
        for row in rows:
            result.progress.add(row)
        if writer.is_whole(unit):
            writer.write(unit, [writer.table(rows)], len(rows))
        else:
            result.table = writer.table(rows)
        return result


def run(output: Path, settings, fake: Fake, columns="default", total: int = TOTAL, **ways) -> None:
    with PartsJob(output, **{"resume": False, **ways}) as job:
        job.begin(settings, {"a": 1}, None if job.is_started else Listing(total), columns)
        for _ in job.run_parts(fake):
            pass
        job.finish(settings, columns)


@pytest.mark.parametrize("columns", ["default", "full"])
def test_parts_that_come_backwards(tiny: LibreHPS, tmp_path: Path, columns: str) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake(), columns)
    assert sorted(f.name for f in output.iterdir()) == [DONE_FILE, *(
        f"part-{first:012d}.parquet" for first in (0, 64, 128))]  # fmt: skip
    assert are_scored([str(output)])
    table, settings = read_table([output])
    assert table["id"].to_pylist() == [f"{at}" for at in range(TOTAL)]
    assert table["n"].to_pylist() == list(range(TOTAL))
    assert settings == tiny.settings.record()
    assert b"librehps.part" not in table.schema.metadata
    assert json.loads((output / DONE_FILE).read_text())["errors"] == TOTAL
    assert not journal_folder(output).exists()


def test_what_is_missing_is_named_and_resumed(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(EngineError, match="2 parts were not scored"):
        run(output, tiny.settings, Fake(stop_at=64))
    assert (output / UNFINISHED_FILE).exists()
    with pytest.raises(UsageError, match="is unfinished"):
        read_table([output])
    with pytest.raises(UsageError, match="an unfinished run of"):
        PartsJob(output, resume=False)
    before = (output / "part-000000000128.parquet").stat().st_mtime_ns
    (output / "part-000000000064.parquet.partial").write_bytes(b"torn")
    (output / "part-000000000064.parquet.0a1b2c3d.partial").write_bytes(b"torn")
    (output / "part-000000000000.parquet").write_bytes(b"torn")
    again = Fake()
    run(output, tiny.settings, again, resume=True)
    assert again.asked == 128
    assert (output / "part-000000000128.parquet").stat().st_mtime_ns == before
    assert read_table([output])[0]["n"].to_pylist() == list(range(TOTAL))
    assert len(list(output.iterdir())) == 4


def test_resuming_as_something_else(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(EngineError):
        run(output, tiny.settings, Fake(stop_at=64))
    other = dataclasses.replace(tiny.settings, num_frames=2)
    with pytest.raises(UsageError, match="num_frames 4, now 2"):
        run(output, other, Fake(), resume=True)
    with pytest.raises(UsageError, match="columns differ: prompt"):
        names = [n for n in pq.read_schema(output / "part-000000000128.parquet").names
                 if n != "prompt"]  # fmt: skip
        run(output, tiny.settings, Fake(), names, resume=True)
    shutil.rmtree(journal_folder(output))
    with pytest.raises(UsageError, match=r"out\.journal not found"):
        run(output, tiny.settings, Fake(), resume=True)


def test_overwriting_begins_anew(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake())
    late = shutil.copy(output / "part-000000000128.parquet", tmp_path)
    with pytest.raises(UsageError, match="exists"):
        PartsJob(output, resume=False)
    with pytest.raises(EngineError):
        run(output, tiny.settings, Fake(stop_at=0), total=70, overwrite=True)
    assert not (output / DONE_FILE).exists()
    assert [f.name for f in output.iterdir() if f.suffix == ".parquet"] == [
        "part-000000000064.parquet"]  # fmt: skip
    fake = Fake()

    def scored(unit: Unit, writer: PartWriter) -> UnitResult:
        # As a process of the first run that is still alive.
        shutil.copy(late, output / "part-000000000128.parquet")
        return Fake.scored(fake, unit, writer)

    fake.scored = scored
    run(output, tiny.settings, fake, total=70, resume=True)
    assert len(read_table([output])[0]) == 70


def as_if_scored(part: Path) -> pa.Table:
    """Give every other row of a part with 64 rows the status ok; return the table."""
    table = pq.read_table(part)
    status = pa.array(["ok" if at % 2 else "error" for at in range(64)])
    table = table.set_column(table.schema.get_field_index("status"), "status", status)
    table = table.set_column(
        table.schema.get_field_index("error"), table.schema.field("error"), pa.array(["old"] * 64)
    )
    said = json.loads(table.schema.metadata[b"librehps.part"])
    metadata = {
        **table.schema.metadata,
        b"librehps.part": json.dumps(said | {"ok": 32, "errors": 32}),
    }
    pq.write_table(table.replace_schema_metadata(metadata), part)
    return table


def test_a_retry_that_another_process_has_done_meanwhile(tiny: LibreHPS, tmp_path: Path) -> None:
    """The part of a process that was given up stays, whose rows are not replaced by others."""
    output, fake = tmp_path / "out", Fake()
    run(output, tiny.settings, fake)
    part = output / "part-000000000064.parquet"
    scored = fake.scored

    def late(unit: Unit, writer: PartWriter) -> UnitResult:
        items = writer.items(unit)
        if unit.part == 64:
            as_if_scored(part)
        again = SimpleNamespace(is_whole=writer.is_whole, items=lambda _: items,
                                table=writer.table, write=writer.write)  # fmt: skip
        return scored(unit, again)

    fake.scored = late
    run(output, tiny.settings, fake, retry_errors=True)
    assert pq.read_table(part)["error"].to_pylist() == ["old"] * 64
    assert json.loads((output / DONE_FILE).read_text())["ok"] == 32


def test_errors_alone_are_done_again(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake())
    part = output / "part-000000000064.parquet"
    table = as_if_scored(part)
    again = Fake()
    with pytest.raises(UsageError, match="has '70' where the source has no item"):
        run(output, tiny.settings, again, total=70, retry_errors=True)
    run(output, tiny.settings, again, retry_errors=True)
    assert again.asked == TOTAL - 32
    after = pq.read_table(part)
    assert after["id"].to_pylist() == table["id"].to_pylist()
    assert after["error"].to_pylist() == ["no", "old"] * 32
    assert json.loads((output / DONE_FILE).read_text())["ok"] == 32


@pytest.mark.parametrize(
    ("name", "said"),
    [("x.parquet", "writes a folder of parts"), ("x.jsonl", "writes a folder of parts"),
     ("no/where", "does not exist"), ("/", "needs a name"), ("full", "holds other.txt")],
)  # fmt: skip
def test_what_cannot_be_a_folder(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("")
    with pytest.raises(UsageError, match=said):
        PartsJob(tmp_path / name, resume=False)


def test_parts_grow_with_the_listing() -> None:
    assert [rows_of_part(n) for n in (1, 2_000, 10**6, 10**8)] == [64, 64, 2048, 16_384]


def test_items_that_kill_every_process_are_found(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake(deadly={3, 70, 71, 149}))
    errors = read_table([output])[0]["error"].to_pylist()
    assert [at for at, error in enumerate(errors) if error == "died"] == [3, 70, 71, 149]
    assert len(errors) == TOTAL


def test_a_retry_of_a_part_whose_process_dies(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake())
    run(output, tiny.settings, Fake(deadly={70}), retry_errors=True)
    table = read_table([output])[0]
    assert table["id"].to_pylist() == [f"{at}" for at in range(TOTAL)]
    assert [at for at, error in enumerate(table["error"].to_pylist()) if error == "died"] == [70]


def test_a_part_of_other_items_is_refused(tiny: LibreHPS, tmp_path: Path) -> None:
    def wrong(units, writer):
        rows = [ScoredRow(item, "image", None, error=BrokenMediaError("no"))
                for item in writer.items(units[1])]  # fmt: skip
        writer.write(units[0], [writer.table(rows)], len(rows))
        yield UnitResult(units[0])

    with pytest.raises(EngineError, match="rows are missing or of other items"):
        run(tmp_path / "out", tiny.settings, wrong)


class Scorer:
    """A model whose engine a test can stop."""

    def __init__(self, tiny: LibreHPS) -> None:
        self.tiny, self.settings = tiny, tiny.settings

    def engine(self, find_prompt, cache, hashes):
        self.made = self.tiny.engine(find_prompt)
        return self.made


class Here(ScoreActor):
    """An actor in this process."""

    def place(self) -> Place:
        return Place("a1", "node a1")


def actor(tiny: LibreHPS, job: PartsJob, folder: Path, **other) -> ScoreActor:
    journal = job.journal.folder.absolute()
    find = lambda item, _: item  # noqa: E731
    scoring = Scoring(lambda: tiny, tiny.settings, find, journal, str(folder), 1)
    return Here(replace(scoring, **other))


def test_an_actor(tiny: LibreHPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units that are scored at once; what the node lacks; the wrong settings."""
    monkeypatch.chdir(tmp_path)
    for at in range(0, TOTAL, 2):
        picture(64, 48, seed=at).save(tmp_path / f"{at}.png")
    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(tiny.settings, {}, Listing(), "default")
        scorer = Scorer(tiny)
        good = actor(tiny, job, tmp_path, load=lambda: scorer, cache=tmp_path / "cache")
        assert good.load(2) is None

        def score(units, writer):
            with ThreadPoolExecutor(3) as threads:
                yield from threads.map(good.score, units, repeat(writer))

        found = [*job.run_parts(score)]
        units = [result.unit for result in found]
        assert sorted(result.unit.part for result in found) == [0, 64, 128]
        assert sum(result.progress.ok for result in found) == TOTAL // 2
        assert sum(result.progress.work.forwards for result in found) == TOTAL // 2
        assert all(result.unread for result in found)
        warned = [text for result in found for text in result.warnings]
        assert warned == [
            f"node a1 has no folder {tmp_path / 'cache'}: it scores without the cache"
        ]
        piece = good.score(units[0]._replace(end=10), job.writer)
        assert len(piece.table) == 10
        job.finish(tiny.settings, "default")
        missing = good.score(units[0], job.writer)
        assert isinstance(missing, Blind)
        assert missing.message.startswith("node a1 cannot read ")
    scorer.made.stop.set()
    assert read_table([tmp_path / "out"])[0]["status"].to_pylist() == ["ok", "error"] * 75
    blind = actor(tiny, job, tmp_path / "none").load(None)
    assert isinstance(blind, Blind)
    assert "none" in blind.message


class Seeing:
    """An actor's handle, whose node has some of the files, when it is asked again."""

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = {*files}


def test_a_node_without_the_media_is_not_used(
    tiny: LibreHPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blind node is named, and without another node the run ends."""
    here, gone, told = tmp_path / "a.png", tmp_path / "b.png", []
    here.touch()
    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(tiny.settings, {}, Listing(), "default")
        scoring = actor(tiny, job, tmp_path)._scoring
        layout = ActorLayout(3, 0.0, 1.0, 1)
        pool = Pool(RayOptions(), layout, scoring, told.append)
        nodes = [Place("a1", "node a1"), Place("a1", "node a1"), Place("b2", "node b2")]
        pool.members = [Member(Seeing([]), place, is_ready=True) for place in nodes]
        monkeypatch.setattr(pool, "sees", lambda one, files: bool(one.actor.files & {*files}))
        scorer = RayEngine(pool, Head("", 0))
        first, _, other = pool.members
        shares = Shares.of([Unit(0, 0, 64)], job.writer)
        unit = shares.take(is_idle=True, may_queue=False)

        def take(member: Member, *files: str | Path) -> UnitResult | None:
            answer = UnitResult(unit, unread=files)
            return scorer._taken(shares, member, unit, answer)

        first.actor.files = {here}
        # A part of rows without media would be kept by --resume.
        part = tmp_path / "out" / "part-000000000000.parquet"
        part.touch()
        assert take(first, here) is None
        assert not part.exists()
        assert (told, shares.take(is_idle=True, may_queue=False)) == ([], unit)
        first.actor.files = set()
        assert take(first, gone, here) is None
        assert told == [f"node a1 cannot find {here}; this node is not used"]
        assert pool.ready == [other]
        # What no node has is a row of the output.
        assert shares.take(is_idle=True, may_queue=False) == unit
        assert take(other, gone) is not None
        fsspec.filesystem("memory").pipe("/x.png", b"")
        with pytest.raises(EngineError, match=r"Ray: node b2 cannot read memory://x\.png"):
            take(other, "memory://x.png")


@pytest.mark.parametrize(("home", "kind"), [("a1", CheckpointError), ("b2", Blind)])
def test_a_node_that_cannot_load_the_model(
    tiny: LibreHPS, tmp_path: Path, home: str, kind: type
) -> None:
    """An error of the run on the driver's node; another node is named and not used."""

    def load():
        raise CheckpointError("no weights")

    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(tiny.settings, {}, Listing(), "default")
        answer = actor(tiny, job, tmp_path, load=load, home=home).load(None)
    assert isinstance(answer, kind)
    if isinstance(answer, Blind):
        assert answer.message == "node a1 cannot load the model: no weights"


def test_no_node_that_can_be_used_is_left(
    tiny: LibreHPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends, even if the last actor has found its place after the node was given up."""
    monkeypatch.setattr(pool_module, "alive", lambda: {"a1": {"CPU": 2.0}})
    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(tiny.settings, {}, Listing(), "default")
        scoring = actor(tiny, job, tmp_path)._scoring
        pool = Pool(RayOptions(actors=2), ActorLayout(2, 0.0, 1.0, 1), scoring, print)
        place = Place("a1", "node a1")
        pool.members = [Member(None, place), late := Member(None)]
        pool.give_up(pool.members[0], "node a1 cannot read /x")
        pool._started(late, place)
        with pytest.raises(EngineError, match="Ray: node a1 cannot read /x"):
            pool.keep_up()


def test_actors_that_do_not_answer(tiny: LibreHPS, tmp_path: Path) -> None:
    """A note says what they do; another note comes only after the same time again."""
    told: list[str] = []
    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(tiny.settings, {}, Listing(), "default")
        scoring = actor(tiny, job, tmp_path)._scoring
    pool = Pool(RayOptions(), ActorLayout(2, 0.0, 1.0, 1), scoring, told.append)
    place = Place("a1", "node a1")
    units = [Unit(0, 0, 64), Unit(64, 64, 128)]
    pool.members = [Member(None, place, is_ready=True, units=units), Member(None, place)]
    pool._say_if_quiet()
    assert told == []
    pool._answered -= pool_module.QUIET_S + 1
    pool._say_if_quiet()
    pool._say_if_quiet()
    assert told == [
        "no actor has answered for 5 minutes: 1 load the model, 0 cannot be reached, "
        "1 score 128 items"
    ]


def test_an_actor_with_other_settings_scores_nothing(tiny: LibreHPS, tmp_path: Path) -> None:
    foreseen = dataclasses.replace(tiny.settings, dtype="bfloat16")
    with PartsJob(tmp_path / "out", resume=False) as job:
        job.begin(foreseen, {}, Listing(), "default")
        failure = actor(tiny, job, tmp_path, settings=foreseen).load(None)
    assert isinstance(failure, EngineError)
    assert "dtype 'float32', not 'bfloat16'" in str(failure)


def test_settings_are_foreseen(tiny: LibreHPS) -> None:
    assert LibreHPS.foresee("tiny") == tiny.settings
