"""`--engine ray`: the local engine's rows, whichever process is killed."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conftest import Cli
from librehps.errors import ExtraNeededError, UsageError
from librehps.runs.options import RayOptions
from librehps.runs.ray.cluster import spread
from librehps.types import AXES
from librehps_cli.main import app
from make_media import bad_media, clip, picture

RAY = ("--engine", "ray", "--concurrency", 2)
MODEL = ("--model", "tiny", "--prompt-from", "sidecar")
ACTOR, WORKER = "ScoreActor", "decode_items"


@pytest.fixture
def cli(process: Cli) -> Cli:
    """A process: Ray's workers import what a command hands to them."""
    return process


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 190 pictures, a clip and 14 bad files; prompts beside them, columns in it."""
    folder = tmp_path_factory.mktemp("media")
    bad = bad_media(folder / "bad")
    clip(folder / "clip.mp4")
    names = ["clip.mp4", *(f"bad/{name}" for name in bad)]
    for index in range(190):
        picture(64 + 16 * (index % 5), 96, seed=index).save(folder / f"{index:03}.png")
        names.insert(index % len(names), f"{index:03}.png")
    rows = [{"image": name, "seed": at, "tag": f"t{at % 3}"} for at, name in enumerate(names)]
    for name in names[5:]:
        (folder / name).with_suffix(".txt").write_text(f"a picture of {len(name)} things")
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "m.jsonl"


@pytest.fixture(scope="module")
def whole(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> pq.ParquetFile:
    """What the local engine makes of it."""
    output = tmp_path_factory.mktemp("whole") / "x.parquet"
    command = [sys.executable, "-m", "librehps_cli", "score", manifest, *MODEL, "-q", "-o", output]
    assert subprocess.run(command, check=False).returncode == 3
    return pq.ParquetFile(output)


def assert_same(output: Path, whole: pq.ParquetFile) -> None:
    """Order and every column; means within 1e-4 and mu within 2e-3."""
    expected = whole.read()
    parts = sorted(output.glob("part-*.parquet"))
    for part in parts:
        metadata = {**pq.read_schema(part).metadata}
        assert metadata.pop(b"librehps.part")
        assert metadata == expected.schema.metadata
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


def started(
    *arguments: object, program: tuple[str, str] = ("-m", "librehps_cli")
) -> subprocess.Popen[str]:
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes(driver: subprocess.Popen[str], what: str) -> list[psutil.Process]:
    """Ray's worker processes below the driver that run the stage."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and what in title:
            found.append(process)
    return found


def kill(driver: subprocess.Popen[str], what: str) -> None:
    """SIGKILL one process of the stage as soon as there is one."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and driver.poll() is None:
        for process in processes(driver, what)[:1]:
            process.kill()
            return
        time.sleep(0.002)
    raise AssertionError(f"no process of {what} was there to be killed")


def wait_for(driver: subprocess.Popen[str], what: str) -> None:
    """Until a process of the stage is there."""
    deadline = time.monotonic() + 90
    while not processes(driver, what):
        assert time.monotonic() < deadline and driver.poll() is None, what
        time.sleep(0.01)


def wait_for_part(driver: subprocess.Popen[str], output: Path, rows: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        if len(list(output.glob("part-*.parquet"))) >= rows:
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_an_actor_and_a_worker_are_killed(
    manifest: Path, whole: pq.ParquetFile, tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "out"
    driver = started("score", manifest, *MODEL, *RAY, "--batch-size", 1, "-o", output)
    kill(driver, WORKER)
    wait_for_part(driver, output, 1)
    kill(driver, ACTOR)
    said = driver.communicate()
    assert driver.returncode == 3, said
    assert said[0] == ""
    assert len(said[1].splitlines()) <= 6, said[1]
    assert "Traceback" not in said[1]
    assert_same(output, whole)
    assert json.loads((output / "_DONE.json").read_text())["rows"] == whole.metadata.num_rows
    assert not (tmp_path / "out.journal").exists()
    kept = cli("filter", output, "--top", 3, "--json")
    assert len(kept.stdout.splitlines()) == 3, kept.stderr
    exists = cli("score", manifest, *MODEL, *RAY, "-o", output)
    assert exists.returncode == 2
    assert "exists" in exists.stderr


@pytest.mark.slow
def test_the_driver_is_killed_and_interrupted(
    manifest: Path, whole: pq.ParquetFile, tmp_path: Path, cli: Cli
) -> None:
    output = tmp_path / "out"
    command = ("score", manifest, *MODEL, *RAY, "--batch-size", 1, "-o", output)
    driver = started(*command)
    wait_for_part(driver, output, 1)
    below = [p for what in (ACTOR, WORKER) for p in processes(driver, what)]
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    assert "is unfinished" in cli("filter", output, "--top", 3).stderr
    assert "has not finished" in cli(*command).stderr
    other = cli(*command, "--num-frames", 2, "--resume")
    assert other.returncode == 2
    assert "num_frames 4, now 2" in other.stderr
    kept = {file: file.stat().st_mtime_ns for file in output.glob("part-*.parquet")}
    assert kept
    driver = started(*command, "--resume")
    # As long as an actor loads the model, no row can come.
    wait_for(driver, ACTOR)
    driver.send_signal(signal.SIGINT)
    said = driver.communicate()[1]
    assert driver.returncode == 130, said
    assert "--resume goes on" in said
    assert "Traceback" not in said
    done = cli(*command, "--resume")
    assert done.returncode == 3, done.stderr
    assert "were done before" in done.stderr
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert_same(output, whole)


@pytest.mark.slow
def test_complete_errors_again_and_other_folders(tmp_path: Path, cli: Cli) -> None:
    for index in range(12):
        picture(seed=index).save(tmp_path / f"{index}.png")
    good = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(b"")
    command = ("score", tmp_path, "--prompt", "x", "--model", "tiny", "--engine", "ray",
               "-o", tmp_path / "out")  # fmt: skip
    assert cli(*command).returncode == 3
    again = cli(*command, "--resume")
    assert again.returncode == 3
    assert "is complete: 11 scored, 1 errors" in again.stderr
    (tmp_path / "3.png").write_bytes(good)
    assert cli(*command, "--retry-errors").returncode == 0
    table = pq.read_table(tmp_path / "out" / "part-000000000000.parquet")
    assert table["status"].to_pylist() == ["ok"] * 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "ray"), "Name one with -o"),
        (("--engine", "ray", "-o", "-"), "Name one with -o"),
        (("--engine", "ray", "-o", "x.parquet"), "a folder: -o scores"),
        (("--num-gpus", "1"), "go with --engine ray"),
        (
            ("--engine", "ray", "-o", "x", "--num-gpus", "1.5"),
            "expected a fraction of one, or a whole",
        ),
        (("--engine", "ray", "-o", "x", "--ray-address", "ray://h:1"), "streams no data"),
        (("--concurrency", "2", "-o", "x.parquet"), "go with --engine ray"),
    ],
)
def test_what_cannot_be_meant(
    tmp_path: Path, cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    picture().save(tmp_path / "a.png")
    done = cli("score", tmp_path / "a.png", "--prompt", "x", "--model", "tiny", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


POISON = """
import os, sys
from dataclasses import replace
from functools import partial
from librehps import LibreHPS
from librehps.runs.ray import cluster as ray, engine

def find(item, content):
    if item.id.startswith("decoded"):
        os._exit(9)
    if item.id.startswith("odd"):
        raise KeyError("nobody foresaw this")
    return replace(item, prompt="a red circle")

def load():
    found = engine.ready_of
    def fatal(table):
        return [os._exit(9) if one.item.id == "scored" else (at, one) for at, one in found(table)]
    engine.ready_of = fatal
    return LibreHPS.from_pretrained("tiny")

media, *ids = sys.argv[1:]
left = {at: '{"id": "%s", "media": "%s"}' % (id, media) for at, id in enumerate(ids)}
here = ray.RayOptions()
with ray.connected(here):
    layout = ray.find_layout(here, "cpu")
    settings = ray.foresee(partial(LibreHPS.foresee, "tiny"), layout)
    decoding = engine.Decoding(os.getcwd(), "tiny", None, False, 64, "auto", find)
    scoring = engine.Scoring(load, settings, {}, 1)
    engine.MAX_FAILED_TASKS = engine.MAX_TASK_ATTEMPTS = 2
    try:
        for table in engine.RayEngine(here, layout, decoding, scoring).run(left.items, len(ids)):
            for row in table.to_pylist():
                print(row["id"], row["status"], row["error"], sep="|", file=sys.__stdout__)
                del left[row["librehps.index"]]
    except engine.EngineError as error:
        print("ended", error, file=sys.__stdout__)
"""


def poisoned(media: Path, *ids: str) -> list[str]:
    """What the engine says of items by these names, some of which end their processes."""
    picture(64, 48).save(media)
    done = subprocess.run(
        [sys.executable, "-c", POISON, media, *ids],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


@pytest.mark.slow
def test_items_that_kill_every_process_are_error_rows(tmp_path: Path) -> None:
    good = [f"g{index:02}" for index in range(20)]
    told = poisoned(tmp_path / "a.png", "decoded", *good, "scored")
    died = "error|every process that took it up died, 4 of them"
    wanted = [*(f"{name}|ok|None" for name in good), f"decoded|{died}", f"scored|{died}"]
    assert told == sorted(wanted)


@pytest.mark.slow
def test_where_all_processes_die_the_run_ends(tmp_path: Path) -> None:
    ended = poisoned(tmp_path / "a.png", *(f"decoded{index}" for index in range(24)))
    assert ended[0].startswith("ended Ray stopped:")


@pytest.mark.slow
def test_what_nobody_foresaw_ends_the_run_and_says_where(tmp_path: Path) -> None:
    (ended,) = (line for line in poisoned(tmp_path / "a.png", "odd") if "ended" in line)
    assert "KeyError: 'nobody foresaw this' (" in ended


HASTY = """
import sys
from librehps.runs.ray import cluster
from librehps_cli.main import main
cluster.HEAD_TIMEOUT_S = 5
main()
"""


@pytest.mark.slow
def test_the_head_dies(tmp_path: Path) -> None:
    output, names = tmp_path / "out", [f"{index:02}.png" for index in range(20)]
    for index, name in enumerate(names):
        picture(96, 96, seed=index).save(tmp_path / name)
    # More than could be scored until it is noticed.
    rows = [
        {"id": f"{at}", "image": names[at % 20], "prompt": f"number {at}"} for at in range(8000)
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("score", tmp_path / "m.jsonl", "--model", "tiny", *RAY, "-o", output)
    driver = started(*arguments, program=("-c", HASTY))
    wait_for_part(driver, output, 1)
    for process in psutil.Process(driver.pid).children(recursive=True):
        if process.name() == "gcs_server":
            process.kill()
    said = driver.communicate()[1]
    assert driver.returncode == 1, said
    assert "does not answer any more" in said
    assert "--resume goes on" in said


def node(cores: float = 0, gpus: float = 0) -> dict[str, float]:
    return {"CPU": cores, "GPU": gpus, "memory": 1e9}


@pytest.mark.parametrize(
    ("asked", "nodes", "layout"),
    [
        (RayOptions(), [node(16, 8), node(), node(16, 2)], (10, 1.0, 0.0)),
        (RayOptions(num_gpus=2, actors=3), [node(4, 4), node(4, 3)], (3, 2.0, 0.0)),
        (RayOptions(num_gpus=0.1), [node(4, 1)], (10, 0.1, 0.0)),
        (RayOptions(num_gpus=0, actors=2), [node(4, 1)], (2, 0.0, 0.0)),
        # On several nodes an actor holds some of a core, so that none comes to a node without.
        (RayOptions(), [node(), node(8), node(8)], (2, 0.0, 1.0)),
    ],
)
def test_places(
    asked: RayOptions, nodes: list[dict[str, float]], layout: tuple[int, float, float]
) -> None:
    found = spread(asked, "auto", nodes)
    assert (found.actors, found.num_gpus, found.num_cpus) == layout


@pytest.mark.parametrize(
    ("asked", "nodes", "said"),
    [
        (RayOptions(), [node()], "no node with cores or GPUs"),
        (
            RayOptions(num_gpus=1),
            [node(8)],
            "1 actors of 1 GPUs were asked, the cluster has 0 GPUs",
        ),
        # Together they have three, but no actor lives on two nodes.
        (RayOptions(num_gpus=3), [node(8, 2), node(8, 1)], "has 3 GPUs: room for 0"),
        (RayOptions(actors=9), [node(8)], "9 actors were asked, the cluster has 8 cores"),
    ],
)
def test_no_room(asked: RayOptions, nodes: list[dict[str, float]], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        spread(asked, "auto", nodes)


def test_a_cluster_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    picture().save(tmp_path / "a.png")
    command = ("score", tmp_path / "a.png", "--prompt", "x", "--model", "tiny", "--engine", "ray")
    done = cli(*command, "-o", tmp_path / "out", "--ray-address", "127.0.0.1:1")
    assert done.returncode == 1, done.stderr
    assert "Ray cannot be joined at 127.0.0.1:1: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "ray" else found(name, *a)
    )
    arguments = ["score", str(tmp_path / "a.png"), "--prompt", "x", "--engine", "ray"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "out")])
    assert isinstance(done.exception, ExtraNeededError)
    assert "pip install '.[ray]'" in (done.exception.hint or "")
