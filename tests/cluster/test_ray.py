"""`--engine ray`: the local engine's rows, whichever process is killed.

One cluster for all tests, in their order: the later ones kill a node, and then the head.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

import forks
import in_process
import run_data
from bucket import Bucket, bucket, upload
from conftest import Cli
from librehps.scores.read import read_table
from librehps.scores.shards import in_shard
from librehps.storage.outputs import as_output
from librehps.types import AXES
from make_media import bad_media, clip, picture

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_ray")]

SUPPORT = Path(__file__).parents[1] / "support"
KILLER, POISON = SUPPORT / "ray_killer.py", SUPPORT / "ray_poison.py"
MODEL = ("--model", "tiny", "--prompt-from", "sidecar")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 255 pictures, a clip and 14 bad files; prompts beside them, columns in it."""
    folder = tmp_path_factory.mktemp("media")
    bad = bad_media(folder / "bad")
    clip(folder / "clip.mp4")
    names = ["clip.mp4", *(f"bad/{name}" for name in bad)]
    for index in range(255):
        picture(64 + 16 * (index % 5), 96, seed=index).save(folder / f"{index:03}.png")
        names.insert(index % len(names), f"{index:03}.png")
    rows = [{"image": name, "seed": at, "tag": f"t{at % 3}"} for at, name in enumerate(names)]
    for name in names[5:]:
        tag = " <lora:y:1>" if name == "bad/strip.png" else ""
        (folder / name).with_suffix(".txt").write_text(f"a picture of {len(name)} things{tag}")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "m.jsonl"


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> pq.ParquetFile:
    """Return the output of the local engine for the same manifest."""
    output = tmp_path_factory.mktemp("whole") / "x.parquet"
    done = in_process.run(("score", manifest, *MODEL, "-q", "-o", output))
    assert done.returncode == 3, done.stderr
    return pq.ParquetFile(output)


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture(scope="module")
def two_nodes(s3: Bucket) -> Iterator[Cluster]:
    """A cluster of two nodes on this machine, which soon finds that one of them is dead.

    To join it takes a third of the time of a start of Ray.
    """
    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    health = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": health})
    try:
        cluster.add_node(**{name: node[name] for name in ("num_cpus", "object_store_memory")})
        yield cluster
    finally:
        cluster.shutdown()


def assert_same(output: Path, whole: pq.ParquetFile) -> None:
    """Order and every column; means within 1e-4 and mu within 2e-3."""
    expected = whole.read()
    parts = sorted(output.glob("part-*.parquet"))
    for part in parts:
        metadata = {**pq.read_schema(part).metadata}
        assert metadata.pop(b"librehps.part")
        assert metadata.keys() == expected.schema.metadata.keys()
        assert metadata[b"librehps.settings"] == expected.schema.metadata[b"librehps.settings"]
        assert pq.read_schema(part).equals(expected.schema)
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert [row["seed"] for row in rows] == list(range(len(expected)))
    bounds = dict.fromkeys(AXES, 1e-4) | {f"{axis}_mu": 2e-3 for axis in AXES}
    for row, other in zip(rows, expected.to_pylist(), strict=True):
        for name, value in other.items():
            if name in bounds and value is not None:
                assert row[name] == pytest.approx(value, abs=bounds[name])
            else:
                assert timeless(row[name]) == timeless(value), (row["id"], name)


def timeless(value: object) -> object:
    """Without the time of day that decord's messages carry."""
    return re.sub(r"\[\d\d:\d\d:\d\d\]", "", value) if isinstance(value, str) else value


def deadly(
    folder: Path, moments: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A run with such moments, see ray_killer.py; each has come once it has ended."""
    folder.mkdir(exist_ok=True)
    command = [*forks.python(), KILLER, folder, moments, *arguments]
    # Files, since some processes of Ray outlive its head and hold on to pipes.
    with (folder / "stdout").open("w+") as out, (folder / "stderr").open("w+") as err:
        code = subprocess.run(
            [*map(str, command)], stdout=out, stderr=err, check=False,
            env={**os.environ, **environment},
        ).returncode  # fmt: skip
        said = [file.seek(0) or file.read() for file in (out, err)]
    assert {*moments.split(",")} <= {file.name for file in folder.iterdir()}, said
    assert "Traceback" not in said[1]
    return subprocess.CompletedProcess(command, code, *said)


# What finds one item among many is tested in tests/unit/test_parts.py, without processes.
RUNS = {
    "some": ["scored"],
    "all": ["decoded1", "decoded2"],
    "odd": ["odd"],
}
Told = dict[str, list[list[str | None]]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, two_nodes: Cluster) -> Told:
    """(id, status, error) of each row of each run, or ("ended", "", why) where it ended."""
    folder = tmp_path_factory.mktemp("poison")
    picture(64, 48).save(folder / "a.png")
    done = subprocess.run(
        [*forks.python(), POISON, folder / "a.png", folder, json.dumps(RUNS)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "RAY_ADDRESS": two_nodes.address},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Told = json.loads(done.stdout)
    return found


def test_items_that_kill_every_process_are_error_rows(told: Told) -> None:
    assert told["some"] == [["scored", "error", "all 2 processes that tried this item died"]]
    _, _, note = told["notes"][0]
    assert note is not None and note.startswith("an actor on ")
    assert note.endswith(" died: its 1 unfinished item will be scored again")


def test_where_all_processes_die_the_run_ends(told: Told) -> None:
    (name, _, why), *_ = told["all"]
    assert name == "ended"
    assert why is not None and why.startswith("Ray failed: 2 actors died in a row, the last: ")


def test_what_nobody_foresaw_ends_the_run_and_says_where(told: Told) -> None:
    ((name, _, why),) = told["odd"]
    assert name == "ended"
    assert why is not None and "KeyError: 'nobody foresaw this' (" in why


def test_from_bucket_to_bucket(
    s3: Bucket, tmp_path: Path, two_nodes: Cluster, cli: Cli, process: Cli
) -> None:
    for at in range(70):
        picture(32 + at % 3, 32, seed=at).save(tmp_path / f"{at}.png")
    (tmp_path / "5.png").write_text("no picture")
    source, output = f"{s3.url}/pictures", f"{s3.url}/scores"
    upload(tmp_path, source)
    command = ("score", source, "--prompt", "red", "--model", "tiny", "-o")
    found = process(
        *command, output, "--engine", "ray", "--concurrency", 1, RAY_ADDRESS=two_nodes.address
    )
    assert found.returncode == 3, found.stderr
    assert cli(*command, tmp_path / "x.parquet").returncode == 3
    expected = pq.read_table(tmp_path / "x.parquet").to_pylist()
    run_data.assert_same(read_table([as_output(output)])[0].to_pylist(), expected)
    names = [file.name for file in as_output(output).iterdir()]
    assert sorted(names) == ["_DONE.json", "part-000000000000.parquet", "part-000000000064.parquet"]
    assert not as_output(f"{output}.journal").exists()


def test_an_empty_shard(tmp_path: Path, two_nodes: Cluster, cli: Cli, process: Cli) -> None:
    ids = [f"i{at}" for at in range(6)]
    empty = next(w for w in range(1, 9) if not any(in_shard(i, w, 8) for i in ids))
    picture().save(tmp_path / "a.png")
    rows = [{"id": i, "image": "a.png", "prompt": "x"} for i in ids]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "scores"
    ray = ("--engine", "ray", "--concurrency", 1, "--shard", f"{empty}/8")
    arguments = ("score", tmp_path / "m.jsonl", "--model", "tiny", *ray, "-o", output)
    # A process: its actors load the model, which that of the tests remembers.
    done = process(*arguments, RAY_ADDRESS=two_nodes.address)
    assert done.returncode == 0, done.stderr
    assert "this shard contains no items" in done.stderr
    assert len(pq.read_table(output / "part-000000000000.parquet")) == 0
    again = cli(*arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert "is complete: 0 scored" in again.stderr
    chosen = cli("filter", output, "--ok-only")
    assert (chosen.returncode, chosen.stdout) == (0, ""), chosen.stderr


def test_whichever_process_dies_no_row_is_lost(
    manifest: Path,
    whole: pq.ParquetFile,
    tmp_path: Path,
    two_nodes: Cluster,
    cli: Cli,
    process: Cli,
) -> None:
    """Ray is started for the first run; those that resume it join a cluster, which loses a node."""
    output, happened = tmp_path / "out", tmp_path / "happened"
    command = ("score", manifest, *MODEL, "--engine", "ray", "-o", output)
    slow = ("--concurrency", 2, "--batch-size", 1)
    interrupted = deadly(happened, "decoding,writing,interrupt", *command, *slow)
    assert interrupted.returncode == 130, interrupted.stderr
    assert "continue with --resume" in interrupted.stderr
    assert "is unfinished" in cli("filter", output, "--top", 3).stderr
    assert "an unfinished run of" in cli(*command).stderr
    kept = {file: file.stat().st_mtime_ns for file in output.glob("part-*.parquet")}
    assert kept
    raylet = two_nodes.worker_nodes.copy().pop().all_processes["raylet"][0].process.pid
    joined = {"RAY_ADDRESS": two_nodes.address, "NODE_PID": str(raylet)}
    killed = deadly(happened, "driver", *command, "--resume", "--concurrency", 1, **joined)
    assert killed.returncode == -9
    done = deadly(happened, "node", *command, "--resume", **joined)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert f"joining Ray at {two_nodes.address}" in done.stderr
    assert "items were scored before" in done.stderr
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert_same(output, whole)
    assert json.loads((output / "_DONE.json").read_text())["rows"] == whole.metadata.num_rows
    assert not (tmp_path / "out.journal").exists()
    best = cli("filter", output, "--top", 3, "--json")
    assert len(best.stdout.splitlines()) == 3, best.stderr
    exists = cli(*command)
    assert exists.returncode == 2
    assert "exists" in exists.stderr
    again = cli(*command, "--resume")
    assert again.returncode == 3
    assert "is complete: 251 scored, 19 errors" in again.stderr
    # Nothing of a cluster is needed for this answer.
    assert "Ray" not in again.stderr
    strip = manifest.parent / "bad" / "strip.png"
    bad = strip.read_bytes()
    picture().save(strip)
    retried = process(*command, "--retry-errors", **joined)
    strip.write_bytes(bad)
    assert retried.returncode == 3
    said = [line for line in retried.stderr.splitlines() if "items/s" not in line]
    assert len(said) <= 7, retried.stderr
    # Counted by an actor.
    assert "1 prompt had <lora:...> tags, which were removed" in retried.stderr
    assert "252 scored, 18 errors" in retried.stderr
    statuses = pq.read_table(output, columns=["seed", "status"])
    assert statuses["seed"].to_pylist() == list(range(whole.metadata.num_rows))
    assert statuses["status"].to_pylist().count("ok") == 252


def test_the_head_dies(tmp_path: Path, two_nodes: Cluster) -> None:
    picture().save(tmp_path / "a.png")
    head = two_nodes.head_node.all_processes["gcs_server"][0].process.pid
    joined = {"RAY_ADDRESS": two_nodes.address, "HEAD_PID": str(head)}
    command = ("score", tmp_path, "--prompt", "x", "--model", "tiny", "--engine", "ray")
    done = deadly(tmp_path / "happened", "head", *command, "-o", tmp_path / "out", **joined)
    assert done.returncode == 1, done.stderr
    assert "does not answer" in done.stderr
    assert "Continue with --resume." in done.stderr
