"""`--compile`: the pieces of the network traced by torch, and run as they are or by inductor."""

import logging
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import EXAMPLES, GOLDEN, Cli
from librehps import LibreHPS
from librehps.errors import ModelError, UsageError
from librehps.models.librehps import compiled
from librehps.models.librehps.compiled import check_compiler
from librehps.types import BatchItem

# In turn: one and several rows, streams of different lengths and pictures of different shapes.
FILES = [
    (EXAMPLES / "media" / "match.png", "a red circle"),
    (GOLDEN / "media" / "pano.png", "a long prompt " * 30),
    (GOLDEN / "media" / "tall.jpg", "a cat"),
    (GOLDEN / "media" / "small.png", "a dog " * 120),
    (GOLDEN / "media" / "wide.png", "a red circle left of a blue square"),
]
ITEMS = [BatchItem(path, prompt) for path, prompt in FILES]


class Backend:
    """Runs a traced graph as it is, and counts the graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list) -> Callable:
        self.graphs += 1
        return graph.forward


@pytest.fixture(scope="module")
def backend() -> Backend:
    return Backend()


@pytest.fixture(scope="module")
def traced(backend: Backend) -> LibreHPS:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "inductor", backend)
        return LibreHPS.from_pretrained("tiny", device="cpu", compile=True)


def mus(scorer: LibreHPS, items: list[BatchItem], batch_size: int) -> torch.Tensor:
    scores = scorer.score_images_batch(items, batch_size)
    return torch.tensor([[axis.raw_mean for axis in score.values()] for score in scores])


@pytest.mark.slow
def test_a_folder_of_mixed_sizes_needs_no_graph_beyond_the_load(
    traced: LibreHPS, tiny: LibreHPS, backend: Backend
) -> None:
    at_load = backend.graphs
    # Seven pieces; those of the text model once for a batch of one.
    assert 7 <= at_load <= 14
    for items, batch_size in ((ITEMS, 5), (ITEMS[:3], 2), (ITEMS[1:], 3), (ITEMS[:1], 1)):
        ours, plain = mus(traced, items, batch_size), mus(tiny, items, batch_size)
        assert torch.allclose(ours, plain, rtol=0, atol=2e-3)
    assert backend.graphs <= at_load + 2
    frames = [torch.rand(3, 64 + 32 * (at // 4), 96) for at in range(4)]
    clip, known = (s.score_video(frames, "a red circle") for s in (traced, tiny))
    assert clip.temporal.raw_mean == pytest.approx(known.temporal.raw_mean, abs=2e-3)
    # Compiled kernels round otherwise, as another kernel does: a setting.
    assert traced.settings.delta_rule == "torch-compiled"
    assert traced.settings == replace(tiny.settings, delta_rule="torch-compiled")
    foreseen = LibreHPS.foresee("tiny", device="cpu", compile=True)
    assert foreseen == traced.settings
    assert traced.reasons["compile"].startswith(f"as asked; {at_load} graphs compiled in ")


@pytest.mark.slow
def test_rows_of_a_batch_do_not_leak(traced: LibreHPS) -> None:
    together, alone = mus(traced, ITEMS, 5), mus(traced, ITEMS, 1)
    assert torch.allclose(together, alone, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_beyond_the_limit_graphs_run_plain(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counted = Backend()
    monkeypatch.setattr(compiled, "MAX_GRAPHS", 1)
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    block, pieces = tiny._model.network.model.visual.blocks[0], compiled.Compiler(counted)
    for dtype in (torch.float32, torch.float64, torch.float16):
        other = deepcopy(block).to(dtype)
        hidden, mixed = torch.randn(2, 9, block.norm1.weight.numel(), dtype=dtype).unbind()
        ours = pieces.after_vision(other, hidden, mixed, axes=1)
        assert torch.equal(ours, compiled.after_vision(other, hidden, mixed))
    assert counted.graphs == 1
    assert caplog.text.count("--compile: 1 graphs compiled, further ones run plain") == 1


@pytest.mark.slow
def test_lanes_with_other_numbers_of_threads_share_graphs(tiny: LibreHPS) -> None:
    seen = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        return lambda *values: seen.append(torch.get_num_threads()) or graph.forward(*values)

    block, pieces = tiny._model.network.model.visual.blocks[0], compiled.Compiler(backend)
    hidden, mixed = torch.randn(2, 9, block.norm1.weight.numel()).unbind()
    before = torch.get_num_threads()
    try:
        for threads in (3, 1, 2):
            torch.set_num_threads(threads)
            pieces.after_vision(block, hidden, mixed, axes=1)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert seen == [3, 1, 2] and pieces.graphs == 1


@pytest.mark.slow
def test_a_backend_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        raise RuntimeError("ptxas not found")

    monkeypatch.setattr(compiled, "inductor", faulty)
    with pytest.raises(ModelError, match=r"^--compile: failed on cpu: .*_compile"):
        LibreHPS.from_pretrained("tiny", device="cpu", compile=True)


def test_compiled_scores_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(self: compiled.Compiler, network: torch.nn.Module) -> None:
        network.model.language_model.norm.weight.add_(3)

    monkeypatch.setattr(compiled.Compiler, "install", install)
    with pytest.raises(ModelError, match=r"^--compile: mu of compiled scores differs by"):
        LibreHPS.from_pretrained("tiny", device="cpu", compile=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_inductor_compiles_a_piece(tiny: LibreHPS) -> None:
    block = tiny._model.network.model.visual.blocks[0]
    pieces = compiled.Compiler(compiled.inductor)
    for rows in (7, 20):
        hidden, mixed = torch.randn(2, rows, block.norm1.weight.numel()).unbind()
        with torch.inference_mode():
            ours = pieces.after_vision(block, hidden, mixed, axes=1)
            plain = compiled.after_vision(block, hidden, mixed)
        assert torch.allclose(ours, plain, atol=1e-4)
    assert pieces.graphs == 1


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CXX", "CC"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match=r"no C\+\+ compiler found \(g\+\+, clang\+\+\)"):
        LibreHPS.from_pretrained("tiny", device="cpu", compile=True)
    monkeypatch.setenv("CXX", "icpx")
    with pytest.raises(UsageError, match=r"not available on cpu: .*\(icpx\)"):
        check_compiler(torch.device("cpu"))
    with pytest.raises(UsageError, match="it needs a CPU or CUDA"):
        check_compiler(torch.device("mps"))


def test_hpsv3_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        *("score", EXAMPLES / "media" / "match.png", "-p", "x", "--compile"),
        *("-m", GOLDEN.parent / "golden_hpsv3" / "checkpoint"),
    )
    assert done.returncode == 2
    assert "--compile: unsupported for HPSv3 checkpoints" in done.stderr
