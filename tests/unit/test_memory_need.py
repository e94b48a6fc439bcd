"""Memory that a model needs: formulas against measured peaks, and the error before loading."""

import json
import os
import re
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from conftest import CHECKPOINT, GOLDEN, Cli
from librehps import LibreHPS
from librehps.bench.configs import config_of
from librehps.bench.random_model import random_scorer
from librehps.errors import MemoryShortError
from librehps.models.activation_memory import ItemSize, activation_bytes
from librehps.models.base import Prepared
from librehps.models.families import FAMILIES
from librehps.models.free_memory import _system_free, control_group_free, free_memory
from librehps.models.librehps.batch import grid_of
from librehps.models.librehps.footprint import footprint_of
from librehps.models.memory_need import Mode, modes_on

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FP32, BF16 = torch.float32, torch.bfloat16
HPSV3 = GOLDEN.parent / "golden_hpsv3" / "checkpoint"


def peak(scorer: LibreHPS, items: list[Prepared]) -> int:
    """Bytes that the allocator holds at the peak of a forward."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        scorer._model.launch(items)()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.fixture(scope="module")
def middle() -> LibreHPS:
    return random_scorer("47m", dtype="float32", device="cpu")


CASES = {
    # frames, side, words of the prompt, items
    "image": (1, 448, 20, 1),
    "batch": (1, 448, 20, 2),
    "small": (1, 128, 20, 2),
    "long prompt": (1, 320, 700, 1),
    "video": (6, 256, 20, 1),
}


TRIED = [*(("tiny", case) for case in CASES), ("47m", "image"), ("47m", "long prompt")]


@pytest.mark.parametrize(("size", "case"), TRIED)
def test_activations_are_those_of_a_forward(
    tiny: LibreHPS, middle: LibreHPS, size: str, case: str
) -> None:
    frames, side, words, count = CASES[case]
    scorer = tiny if size == "tiny" else middle
    processor = scorer._processor.with_budget(0)
    pixels = torch.zeros(frames, 3, side, side, dtype=torch.uint8)
    kind = "image" if frames == 1 else "video"
    item = processor.prepare(pixels, kind, processor.encode("red " * words))
    steps, rows, columns = grid_of(item.pixels)
    found = peak(scorer, [item] * count)
    widths = footprint_of(config_of(size)).widths
    formula = count * activation_bytes(widths, FP32, ItemSize(steps * rows * columns, item.cost))
    assert found <= formula <= 1.25 * found, f"{found / 1e6:.2f} MB, {formula / 1e6:.2f} by formula"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_those_of_a_loaded_model(dtype: str) -> None:
    scorer = LibreHPS.from_pretrained(CHECKPOINT, device="cpu", dtype=dtype)
    loaded = sum(p.nbytes for p in scorer._model.network.parameters())
    foreseen = footprint_of(json.loads((CHECKPOINT / "config.json").read_text()))
    assert foreseen.need(Mode("full", scorer.dtype), CUDA).weights == loaded


@pytest.mark.parametrize(
    ("mode", "gigabytes"),
    [
        (Mode("full", BF16), 9.1 - 1.27),
        (Mode("full", FP32), 2 * (9.08 - 1.27)),
        (Mode("int8", BF16), 5.2 - 1.27),
        # With a float32 scale per 64 weights; the scales are quantised too, to a fourth.
        (Mode("nf4", BF16), 4.0 - 1.27 - 3.57 / 64 * 3),
    ],
    ids=str,
)
def test_the_published_model(mode: Mode, gigabytes: float) -> None:
    need = footprint_of(config_of("4b")).need(mode, CUDA)
    assert need.weights / 1e9 == pytest.approx(gigabytes, rel=0.03)


@pytest.mark.slow
def test_hpsv3_has_a_need() -> None:
    config = json.loads((HPSV3 / "config.json").read_text())
    [family] = [f for f in FAMILIES if f.matches(HPSV3, config)]
    needs = [
        family.footprint(HPSV3 / "config.json", config).need(mode, CPU).total
        for mode in modes_on(CPU, FP32)
    ]
    half, whole, int8, _ = needs
    assert int8 < whole and half < whole


@pytest.mark.parametrize(
    ("mode", "peaks"),
    [
        (Mode("full", BF16), {1: 7.99, 8: 8.24, 32: 9.10, 64: 10.24}),
        (Mode("int8", BF16), {1: 4.06, 8: 4.28, 32: 5.13, 64: 6.28}),
    ],
    ids=str,
)
def test_no_less_than_an_h200_needed(mode: Mode, peaks: dict[int, float]) -> None:
    """Peaks of `benchmarks/gpu.py --only "forward,forward int8"`, in GB by batch size."""
    footprint = footprint_of(config_of("4b"))
    for items, peak in peaks.items():
        assert peak < footprint.need(mode, CUDA, items).total / 1e9 < 1.3 * peak


def with_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """A machine with this much free memory: the test's own has what it has."""
    for place in ("models.memory_need", "bench.memory_table"):
        monkeypatch.setattr(f"librehps.{place}.free_memory", lambda device: int(free))


def test_the_error_names_the_modes_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 8e9)
    with pytest.raises(MemoryShortError) as raised:
        random_scorer("4b", dtype="float32", device="cpu")
    assert str(raised.value) == (
        "not enough memory on cpu: full weights in float32 need 15.8 GB with one image, "
        "8.0 GB are free"
    )
    assert raised.value.hint == (
        "These fit: --dtype bfloat16 (7.9 GB), --weights int8 (4.2 GB), --weights nf4 (3.4 GB). "
        "`librehps info --memory` lists all modes."
    )
    with_free(monkeypatch, 2e9)
    with pytest.raises(MemoryShortError) as raised:
        random_scorer("4b", dtype="bfloat16", device="cpu")
    assert "No mode fits; the smallest is --weights nf4 (" in (raised.value.hint or "")
    with pytest.raises(MemoryShortError) as raised:
        random_scorer("4b", dtype="bfloat16", device="cpu", weights="nf4")
    assert "No mode fits; the smallest is --weights nf4 (" in (raised.value.hint or "")


def test_info_memory_of_the_published_model(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config of this model is known: neither network nor download is needed."""
    with_free(monkeypatch, 8e9)
    # One batch at a time, on a machine of any number of cores.
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    done = cli(
        "info", "--memory", "--json", "--device", "cpu", "--dtype", "bf16", "--batch-size", 1
    )
    assert done.returncode == 0, done.stderr
    rows = {(r["weights"], r["dtype"]): r for r in map(json.loads, done.stdout.splitlines())}
    assert [(*key, row["fits"]) for key, row in rows.items()] == [
        ("full", "bfloat16", True),
        ("full", "float32", False),
        ("int8", "bfloat16", True),
        ("nf4", "bfloat16", True),
    ]
    for row in rows.values():
        assert row["total_bytes"] == row["weight_bytes"] + row["activation_bytes"]
    assert rows["int8", "bfloat16"]["total_bytes"] == pytest.approx(4.2e9, rel=0.05)
    table = cli("info", "--memory", "--table", "--model", CHECKPOINT, "--device", "cpu")
    assert "--weights int8" in table.stdout and "8.0 GB" in table.stdout
    assert "at a time on cpu" in table.stderr
    for flag in (["--weights", "int8"], ["--compile"]):
        done = cli("info", "--memory", *flag)
        assert (done.returncode, f"{flag[0]}: unsupported with" in done.stderr) == (2, True)


def test_info_memory_without_a_config(cli: Cli, tmp_path: Path) -> None:
    done = cli("info", "--memory", "--model", "some/body")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE forbids a download" in done.stderr
    done = cli("info", "--memory", "--model", tmp_path)
    assert done.returncode == 1 and "config.json not found" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen3_5_moe"}, "mixture-of-experts"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config: awq"),
        ({"librehps": {"pixel_budget": "large"}}, "pixel_budget`: expected an integer above 0"),
    ],
    ids=["experts", "quantised", "budget"],
)
def test_info_memory_of_an_unsupported_config(
    cli: Cli, tmp_path: Path, change: dict, message: str
) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    done = cli("info", "--memory", "--model", tmp_path, "--device", "cpu")
    assert done.returncode == 1 and re.search(message, done.stderr)


def test_modes_in_float16() -> None:
    """The listed modes have float16 as asked for, and no int8, whose products overflow there."""
    modes = [(mode.weights, mode.dtype) for mode in modes_on(CPU, torch.float16)]
    assert modes == [
        *(("full", kind) for kind in (BF16, FP32, torch.float16)),
        ("nf4", torch.float16),
    ]


def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that PyTorch keeps is free, and an integrated GPU has the system's."""
    own, shared = SimpleNamespace(is_integrated=0), SimpleNamespace(is_integrated=1)
    for name, value in {
        "get_device_properties": own,
        "mem_get_info": (5, 100),
        "memory_reserved": 40,
        "memory_allocated": 10,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(CUDA) == 35
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: shared)
    monkeypatch.setattr("librehps.models.free_memory._system_free", lambda: 7)
    assert free_memory(CUDA) == 7


def test_a_system_that_does_not_tell_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: "MemTotal: 9 kB\n0::/")
    assert _system_free() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


V2 = {
    "memory.max": "8000",
    "memory.current": "5000",
    "memory.stat": "anon 3000\ninactive_file 1500\nactive_file 500\n",
}
V1 = {
    "memory.limit_in_bytes": "8000",
    "memory.usage_in_bytes": "5000",
    "memory.stat": "inactive_file 7\ntotal_inactive_file 1500\ntotal_active_file 500\n",
}


@pytest.mark.parametrize(
    ("groups", "membership", "free"),
    [
        ({".": V2}, "0::/", 5000),
        ({"a/b": V2}, "0::/a/b", 5000),
        ({"a": V2 | {"memory.max": "6000"}, "a/b": V2}, "0::/a/b", 3000),
        ({"a": V2, "a/b": V2 | {"memory.max": "max"}}, "0::/a/b", 5000),
        # A container that sees its own group at the mount point.
        ({".": V2}, "0::/host/of/it", 5000),
        ({"memory/a": V1}, "5:cpu:/z\n4:memory:/a\n0::/", 5000),
        ({"memory": V1}, "4:hugetlb,memory:/docker/x", 5000),
        ({"memory": V1 | {"memory.limit_in_bytes": str(2**63 - 4096)}}, "4:memory:/", None),
        ({".": V2 | {"memory.max": "max"}}, "0::/", None),
        ({".": V2 | {"memory.max": "1000"}}, "0::/", 0),
        ({}, "0::/", None),
    ],
)
def test_memory_of_a_container(
    tmp_path: Path, groups: dict, membership: str, free: int | None
) -> None:
    for name, files in groups.items():
        folder = tmp_path / "fs" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    (tmp_path / "own").write_text(membership)
    found = control_group_free(tmp_path / "fs", tmp_path / "own")
    # A group without a limit has one of 8 EiB in version 1.
    assert found == free or (free is None and found is not None and found > 2**60)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size is Linux's")
def test_memory_of_a_process_with_a_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 10**9, hard))
    try:
        free = free_memory(CPU)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert free is not None and 0.9e9 < free <= 10**9
