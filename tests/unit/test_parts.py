"""A folder of parts: every row once, whatever comes twice, late or not at all."""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from librehps import Item, LibreHPS
from librehps.engine.engine import make_ready
from librehps.errors import BrokenMediaError, EngineError, UsageError
from librehps.media.archived import TarMember
from librehps.runs.item_json import item_from, to_entry
from librehps.runs.parts_job import PartsJob
from librehps.runs.ray.arrow import (
    decoded_table,
    items_of,
    listed_table,
    raise_failure,
    ready_of,
    scored_schema,
    scored_table,
)
from librehps.runs.ray.engine import ScoreActor, Scoring
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

    def items(self) -> Iterator[Item]:
        for at in range(self.total):
            yield Item(f"{at}", Path(f"{at}.png"), "x", "image", extra={"n": at})

    def facts(self) -> dict:
        return {"own_columns": {"n": "long"}, "has_prompts": False, "skipped": 0,
                "containers": [], "dropped": []}  # fmt: skip


class Fake:
    """Rows of errors, in tables of 16, backwards; `bad` items have none, `twice` come again."""

    def __init__(self, settings, bad: Iterable[int] = (), twice: bool = False) -> None:
        self.schema, self.settings = scored_schema(settings, {"n": "long"}), settings
        self.bad, self.twice, self.asked = set(bad), twice, 0

    def __call__(self, items):
        listed = [(at, item_from(json.loads(line))) for at, line in items() if at not in self.bad]
        self.asked = len(listed)
        for start in reversed(range(0, len(listed), 16)):
            rows = [(at, ScoredRow(item, "image", None, error=BrokenMediaError("no")))
                    for at, item in listed[start : start + 16]]  # fmt: skip
            yield scored_table(rows, self.schema, self.settings)
            if self.twice:
                yield scored_table(rows[3:] + rows[:5], self.schema, self.settings)


def run(output: Path, settings, fake: Fake, columns="default", total: int = TOTAL, **ways) -> None:
    with PartsJob(output, **{"resume": False, **ways}) as job:
        job.begin(settings, {"a": 1}, None if job.is_started else Listing(total), columns)
        for _ in job.run_parts(fake):
            pass
        job.finish(settings, columns)


def test_rows_that_come_twice_and_backwards(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake(tiny.settings, twice=True))
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
    with pytest.raises(EngineError, match="2 items have no row: 70, 71"):
        run(output, tiny.settings, Fake(tiny.settings, bad={70, 71}))
    assert (output / UNFINISHED_FILE).exists()
    with pytest.raises(UsageError, match="is unfinished"):
        read_table([output])
    with pytest.raises(UsageError, match="an unfinished run of"):
        PartsJob(output, resume=False)
    before = (output / "part-000000000000.parquet").stat().st_mtime_ns
    (output / "part-000000000064.parquet.partial").write_bytes(b"torn")
    (output / "part-000000000128.parquet").write_bytes(b"torn")
    again = Fake(tiny.settings)
    run(output, tiny.settings, again, resume=True)
    assert again.asked == TOTAL - 64
    assert (output / "part-000000000000.parquet").stat().st_mtime_ns == before
    assert read_table([output])[0]["n"].to_pylist() == list(range(TOTAL))
    assert len(list(output.iterdir())) == 4


def test_resuming_as_something_else(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(EngineError):
        run(output, tiny.settings, Fake(tiny.settings, bad={70}))
    other = dataclasses.replace(tiny.settings, num_frames=2)
    with pytest.raises(UsageError, match="num_frames 4, now 2"):
        run(output, other, Fake(other), resume=True)
    with pytest.raises(UsageError, match="columns differ: prompt"):
        names = [n for n in pq.read_schema(output / "part-000000000000.parquet").names
                 if n != "prompt"]  # fmt: skip
        run(output, tiny.settings, Fake(tiny.settings), names, resume=True)
    shutil.rmtree(journal_folder(output))
    with pytest.raises(UsageError, match=r"out\.journal not found"):
        run(output, tiny.settings, Fake(tiny.settings), resume=True)


def test_overwriting_begins_anew(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake(tiny.settings))
    with pytest.raises(UsageError, match="exists"):
        PartsJob(output, resume=False)
    with pytest.raises(EngineError):
        run(output, tiny.settings, Fake(tiny.settings, bad={0}), total=70, overwrite=True)
    assert not (output / DONE_FILE).exists()
    assert [f.name for f in output.iterdir() if f.suffix == ".parquet"] == [
        "part-000000000064.parquet"]  # fmt: skip
    run(output, tiny.settings, Fake(tiny.settings), total=70, resume=True)
    assert len(read_table([output])[0]) == 70


def test_errors_alone_are_done_again(tiny: LibreHPS, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(output, tiny.settings, Fake(tiny.settings))
    # As if these had been scored.
    part = output / "part-000000000064.parquet"
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
    again = Fake(tiny.settings)
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


def test_items_pass_as_they_are(tiny: LibreHPS, tmp_path: Path) -> None:
    picture(80, 60).save(tmp_path / "a.png")
    items = [
        Item("a", str(tmp_path / "a.png"), "red", "image", "g", {"n": 1.5, "t": "ä"}),
        Item("b", TarMember("x.tar", "b.png", 512, 9), "x"),
        Item("c", "\udcff.png", None, problem=BrokenMediaError("why")),
    ]
    given = list(zip((7, 8, 2**40), items, strict=True))
    listed = items_of(listed_table([(at, json.dumps(to_entry(i))) for at, i in given]))
    assert [(at, i.id, i.media, i.extra) for at, i in listed] == [
        (at, i.id, i.media, i.extra) for at, i in given]  # fmt: skip
    engine = tiny.engine()
    ready = [(at, make_ready(i, engine.find_prompt, engine.decoder)) for at, i in given]
    back = ready_of(decoded_table(ready))
    assert [at for at, _ in back] == [at for at, _ in ready]
    for (_, one), (_, other) in zip(ready, back, strict=True):
        assert (type(one.error), str(one.error)) == (type(other.error), str(other.error))
    one, other = ready[0][1].decoded, back[0][1].decoded
    assert one is not None
    assert other is not None
    assert one.prepared.pixels.equal(other.prepared.pixels)
    for name in ("ids", "positions", "vision"):
        assert getattr(one.prepared, name).equal(getattr(other.prepared, name))
    assert dataclasses.replace(one, prepared=None) == dataclasses.replace(other, prepared=None)


def test_an_actor_with_other_settings_scores_nothing(tiny: LibreHPS) -> None:
    foreseen = dataclasses.replace(tiny.settings, dtype="bfloat16")
    actor = ScoreActor(Scoring(lambda: tiny, foreseen, {}))
    with pytest.raises(EngineError, match="dtype 'float32', not 'bfloat16'"):
        raise_failure(actor(decoded_table([])))


def test_settings_are_foreseen(tiny: LibreHPS) -> None:
    assert LibreHPS.foresee("tiny") == tiny.settings
