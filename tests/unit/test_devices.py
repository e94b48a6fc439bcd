"""Several devices: a process on each, and what happens when one dies."""

import errno
import gc
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

import forks
from conftest import Cli
from librehps import Item, LibreHPS, ScoredRow
from librehps.bench import memory_table
from librehps.engine.devices import child, link, worker
from librehps.engine.devices.pool import DevicePool
from librehps.errors import (
    AttentionError,
    EngineError,
    LibreHPSError,
    MemoryShortError,
    UsageError,
    WorkerDiedError,
)
from librehps.models.base import LoadOptions
from librehps.models.families import open_checkpoint
from librehps.models.locate import EMBEDDED
from librehps.rewards import trl_reward
from librehps.serve.device_probe import watch_of
from make_media import picture
from run_data import MODEL, assert_same, rows_of

pytestmark = pytest.mark.slow

KILLER = Path(__file__).parents[1] / "support" / "device_killer.py"
TWO = ("--device", "cpu,cpu")

Load = Callable[..., LibreHPS]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Loads `tiny` on two devices by default, whose processes die at the named moments."""
    folder = tmp_path / "killer"
    folder.mkdir()

    def on_two(moments: str = "", **options: object) -> LibreHPS:
        command = (*forks.python(), str(KILLER), str(folder), moments)
        monkeypatch.setattr(child, "PYTHON", command)
        return LibreHPS.from_pretrained("tiny", **{"device": ["cpu", "cpu"], **options})

    return on_two


def pictures(count: int, **wide: int) -> list[Item]:
    """Pictures with other pixels each; of `wide` each value is the index of a wide one."""
    sizes = [(160, 64) if at in wide.values() else (96, 64 + 16 * (at % 3)) for at in range(count)]
    return [Item(f"{at}", picture(*size, at), "a red circle") for at, size in enumerate(sizes)]


def assert_alike(rows: list[ScoredRow], expected: list[ScoredRow]) -> None:
    assert [row.item.id for row in rows] == [row.item.id for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.error is None and row.score is not None and other.score is not None
        assert row.score.overall.mean == pytest.approx(other.score.overall.mean, abs=1e-4)
        assert row.score.overall.raw_mean == pytest.approx(other.score.overall.raw_mean, abs=2e-3)


def test_rows_are_those_of_one_device(
    run_folder: Path, whole_run: list[dict], tmp_path: Path, cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(child, "PYTHON", forks.python())
    output = tmp_path / "x.parquet"
    done = cli("score", run_folder, "--prompt", "x", *MODEL, *TWO, "-o", output)
    assert done.returncode == 3, done.stderr
    assert_same(rows_of(output), whole_run)
    again = cli("score", run_folder, "--prompt", "x", *MODEL, "-o", output, "--resume")
    assert again.returncode == 3, again.stderr


def test_one_loaded_model_serves_many_calls(load: Load, tiny: LibreHPS, run_folder: Path) -> None:
    model = load("warn")
    assert (len(model.devices), model.settings) == (2, tiny.settings)
    image, clip = run_folder / "03.png", run_folder / "clip.mp4"
    for _ in range(2):
        found, expected = model.score_image(image, "x"), tiny.score_image(image, "x")
        assert found.overall.raw_mean == pytest.approx(expected.overall.raw_mean, abs=2e-3)
    video = model.score_video(clip, "x").temporal.raw_mean
    assert video == pytest.approx(tiny.score_video(clip, "x").temporal.raw_mean, abs=2e-3)
    same = [Item(name, image, "x") for name in "abc"]
    assert len({row.score for row in model.score_items(same)}) == 1


def test_warnings_of_all_processes_come_once(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    load("warn")
    assert caplog.messages.count("each process says this") == 1
    assert sum("mean nothing" in text for text in caplog.messages) == 1


@pytest.mark.parametrize("moment", ["batch", "answer"])
def test_a_process_that_dies_loses_no_row(
    load: Load, tiny: LibreHPS, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, items = load(moment), pictures(24)
    assert_alike([*model.score_items(items, 2)], [*tiny.score_items(items, 2)])
    [warning] = [text for text in caplog.messages if "died" in text]
    assert warning.startswith("cpu: the process died (killed by SIGKILL")


def test_a_dead_process_gets_no_batch_until_its_worker_notices(
    load: Load, tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury, end = worker.Worker._bury, threading.Event()

    def bury_late(self: worker.Worker, dead: child.Child) -> None:
        dead.abandon("killed")
        end.wait()
        bury(self, dead)

    monkeypatch.setattr(worker.Worker, "_bury", bury_late)
    model, items = load("answer"), pictures(24)
    try:
        rows = [*model.score_items(items, 2)]
    finally:
        end.set()
    assert_alike(rows, [*tiny.score_items(items, 2)])


def test_an_item_that_kills_each_process_is_an_error_row(load: Load, tiny: LibreHPS) -> None:
    items = pictures(12, one=4, other=9)
    rows = [*load("wide").score_items(items, 4)]
    died = [row for row in rows if row.error is not None]
    assert [(row.item.id, type(row.error)) for row in died] == [
        ("4", WorkerDiedError), ("9", WorkerDiedError)
    ]  # fmt: skip
    assert "all 4 processes that tried this item died (killed by SIGKILL" in str(died[0].error)
    left = [row for row in rows if row.error is None]
    assert_alike(left, [*tiny.score_items([row.item for row in left], 4)])


def test_a_batch_without_room_is_split(
    load: Load, tiny: LibreHPS, caplog: pytest.LogCaptureFixture
) -> None:
    items = pictures(9)
    assert_alike([*load("full").score_items(items, 8)], [*tiny.score_items(items, 8)])
    assert "out of memory on cpu, cpu: batch size is now 2" in caplog.messages


def test_a_batch_that_cannot_be_passed_on_is_an_error(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: memoryview, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = load()
    with monkeypatch.context() as patched:
        patched.setattr(link.os, "pwrite", full)
        with pytest.raises(EngineError, match=r"pass a batch of 1 to .* \(No space left") as raised:
            model.score_image(picture(), "x")
    assert "--batch-size" in (raised.value.hint or "")
    assert model.score_image(picture(), "x").overall.mean


def test_a_device_whose_process_died_takes_a_batch_last(load: Load) -> None:
    model = load("batch")
    pool = model._model
    assert isinstance(pool, DevicePool)
    model.score_image(picture(), "x")
    with pool._shared.changed:
        assert pool._shared.changed.wait_for(lambda: all(w.child for w in pool._workers), 60)
    model.score_image(picture(), "x")
    # A scored batch sets it to 0.
    assert [worker.deaths for worker in pool._workers] == [1, 0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_the_thread_of_a_process_ends_the_run(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load()
    # A message that this version does not know.
    monkeypatch.setattr(child, "raw_score", lambda row: row["mean"])
    with pytest.raises(EngineError, match="no device is left: cpu: the thread of its process"):
        [*model.score_items(pictures(6), 1)]


def test_memory_is_needed_for_the_model_of_each_process() -> None:
    checkpoint = open_checkpoint(EMBEDDED)
    with pytest.raises(MemoryShortError):
        checkpoint.load(LoadOptions(device="cpu", copies=1_000_000))


def test_processes_end_with_the_model(load: Load, tmp_path: Path) -> None:
    model = load()
    processes = [psutil.Process(int(file.name)) for file in (tmp_path / "killer").iterdir()]
    assert len(processes) == 2
    del model
    gc.collect()
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_a_forked_process_cannot_use_the_model(load: Load) -> None:
    model = load()
    child = os.fork()
    if child == 0:
        try:
            model.score_image(picture(), "x")
        except EngineError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert model.score_image(picture(), "x").overall.mean


def test_when_every_process_dies_the_run_ends(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_DEATHS", 3)
    with pytest.raises(EngineError, match="no device is left: cpu: the process died 3 times"):
        [*load("every").score_items(pictures(60), 2)]


def test_a_process_that_dies_while_it_loads(load: Load) -> None:
    with pytest.raises(EngineError, match=r"^cpu: the process died loading the model \(killed"):
        load("loading")


def test_errors_of_loading_are_those_of_one_device(load: Load) -> None:
    with pytest.raises(AttentionError) as one:
        LibreHPS.from_pretrained("tiny", "fa2", device="cpu")
    with pytest.raises(AttentionError) as two:
        load(attn_impl="fa2")
    assert (str(two.value), two.value.hint) == (str(one.value), one.value.hint)


def test_devices_that_score_differently_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match=r"would score differently: attention (eager|sdpa) and"):
        load("other")


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("cpu,", "expected a device, or several as A,B"),
        ("cpu,gpu0", "expected auto, cpu, cuda, cuda:N or mps, got 'gpu0'"),
        ("cpu,auto", "got 'auto'"),
        ("cpu,meta", "expected devices of one type"),
        ("meta,meta", "meta is not available on this machine"),
        ("cuda:0,cuda:977", "is not available on this machine"),
    ],
)
def test_devices_that_cannot_be_used_together(
    device: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PYTHON", forks.python())
    with pytest.raises(LibreHPSError, match=problem):
        LibreHPS.from_pretrained("tiny", device=device)


def test_one_device_needs_no_process() -> None:
    for device in ("all", ["cpu"]):
        assert len(LibreHPS.from_pretrained("tiny", device=device).devices) == 1


def test_one_device_in_a_process_of_its_own(load: Load, tiny: LibreHPS) -> None:
    with pytest.raises(EngineError, match="the process died loading the model") as died:
        load("loading", device="cpu", own_process=True)
    # There is no other device to leave out or to try.
    assert died.value.hint is None
    model = load(device=None, own_process=True)
    assert model.reasons == tiny.reasons
    with pytest.raises(UsageError, match="no gradient: the model is in processes of its own"):
        model.reward_gradient(torch.zeros(3, 32, 32), ["x"])
    watch = watch_of(model.engine())
    with watch.batch(10):
        assert model.score_image(picture(), "x") == tiny.score_image(picture(), "x")
    # The pool has noted the time, without that of starting a process.
    assert watch.patience.seen == 1


def test_rewards_resize_on_one_device(load: Load) -> None:
    with pytest.raises(UsageError, match="unsupported for a model on several devices"):
        trl_reward(load(), resize="device")


def test_commands_with_several_devices(
    run_folder: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PYTHON", forks.python())
    info = cli("info", "-m", "tiny", "--json", *TWO)
    assert json.loads(info.stdout)["device"]["value"] == "cpu, cpu"
    monkeypatch.setattr(memory_table, "free_memory", lambda device: 1000)
    [mode, *_] = cli("info", "-m", "tiny", "--memory", "--json", *TWO).stdout.splitlines()
    assert (json.loads(mode)["device"], json.loads(mode)["free_bytes"]) == ("cpu, cpu", 500)
    for name in (("-m", "tiny"), ("--config", "tiny")):
        bench = cli("bench", *name, "--quick", *TWO)
        assert (bench.returncode, "bench: expected one device" in bench.stderr) == (2, True)
    output = tmp_path / "parts"
    score = ("score", run_folder, "--prompt", "x", *MODEL, "-o", output)
    for device in ("cpu,cpu", "all"):
        ray = cli(*score, "--engine", "ray", "--device", device)
        assert (ray.returncode, "unsupported with --engine ray" in ray.stderr) == (2, True)
    assert not output.exists()
