"""`benchmarks/gpu.py` with the CPU in the GPU's place, its steps in this process."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import gpu
from conftest import EXAMPLES
from gpu_steps.base import Failed, Result, Skipped, Step, Where, check
from gpu_steps.children import child_command, run_here, run_in_child
from gpu_steps.report import JSON_NAME, MARKDOWN_NAME
from librehps import LibreHPS


def in_process(step: Step, where: Where, limit_s: float) -> Result:
    return run_here(step, where)


def report(folder: Path) -> dict:
    steps = json.loads((folder / JSON_NAME).read_text())["steps"]
    return {step["name"]: step for step in steps}


def child(code: str, limit_s: float = 60) -> Result:
    return run_in_child("x", [sys.executable, "-S", "-c", code], limit_s)


@pytest.mark.slow
def test_every_step_runs_on_a_cpu(tmp_path: Path) -> None:
    # Left out for their time: they are the same steps with another lever.
    slow = {"golden int8", "golden compiled", "forward compiled"}
    names = [step.name for step in gpu.STEPS if step.name not in slow]
    words = ["--device", "cpu", "--config", "tiny", "--every", "40", "--out", str(tmp_path)]
    assert gpu.main([*words, "--only", ",".join(names)], in_process) == 0
    steps = report(tmp_path)
    assert list(steps) == names
    skipped = {name for name, step in steps.items() if step["status"] == "skipped"}
    int8 = set() if find_spec("torchao") else {"forward int8"}
    assert skipped == {"forward fa4", "forward fa2", "forward sdpa", *int8}
    golden = steps["golden float32"]["figures"]
    assert golden["eager torch"]["golden"] < 5e-3 and golden["sdpa torch"]["golden_batch"] < 2e-3
    assert "needs CUDA" in golden["not_available"]["fa2 torch"]
    assert 0 < steps["golden bfloat16"]["figures"]["sdpa torch"]["tiny"] < 0.13
    forward = steps["forward eager"]["figures"]
    assert forward["model"]["attention"] == "eager"
    assert forward["best"]["images_per_s"] > 0 and forward["profile"]["kernels"]
    assert len(steps["out of memory"]["figures"]["halvings"]) == 2
    text = (tmp_path / MARKDOWN_NAME).read_text()
    assert all(f"## {name}: " in text for name in steps)


def test_a_machine_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("gpu: no GPU found: ")
    assert len(said.err.splitlines()) == 1


def test_an_unknown_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--only", "machine,golden float"]) == 2
    assert capsys.readouterr().err == "gpu: --only: unknown step golden float\n"


def test_a_child_is_told_where_to_run() -> None:
    where = Where("cpu", "tiny", 40)
    options = gpu._options([*child_command(Path("x"), "machine", where)[2:], "result"])
    assert Where(options.device, options.config, options.every) == where


def test_a_failed_step_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(where: Where) -> dict:
        raise RuntimeError("no kernel image")

    def skipped(where: Where) -> dict:
        raise Skipped("fla is not installed")

    def out_of_bounds(where: Where) -> dict:
        return check({"mu": 0.5}, {"mu": (0.5, 5e-3), "nothing": (float("nan"), 1.0)})

    runs = {"broken": broken, "skipped": skipped, "far": out_of_bounds, "fine": lambda _: {"a": 1}}
    steps = [Step(name, run, 1, 10) for name, run in runs.items()]
    monkeypatch.setattr(gpu, "STEPS", (*steps, Step("long", runs["fine"], 1e6, 1e6)))
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path)], in_process) == 1
    found = report(tmp_path)
    assert [step["status"] for step in found.values()] == [
        *("failed", "skipped", "failed", "passed", "skipped")
    ]
    assert found["broken"]["reason"] == "RuntimeError: no kernel image"
    assert found["far"]["reason"] == "mu: 0.5 (bound 0.005); nothing: nan (bound 1)"
    assert found["far"]["figures"] == {"mu": 0.5}
    assert found["long"]["reason"].startswith("no time: about 1000000 s needed")
    assert "broken" in capsys.readouterr().out


def test_a_figure_out_of_bounds_keeps_the_figures() -> None:
    with pytest.raises(Failed) as caught:
        check({"mu": 1.0}, {"mu": (1.0, 0.5)})
    assert caught.value.figures == {"mu": 1.0}


def test_children_give_their_result_or_a_reason() -> None:
    write = "import json, sys; json.dump({'name': 'x', 'status': 'passed'}, open(sys.argv[1], 'w'))"
    assert child(write).status == "passed"
    died = child("import os; print('CUDA error: 700', flush=True); os.kill(os.getpid(), 9)")
    assert died.status == "failed"
    assert died.reason == "ended by signal 9 without a result; last output: CUDA error: 700"
    assert "exit code 3" in child("raise SystemExit(3)").reason


def test_a_hanging_child_is_stopped_with_its_own_children() -> None:
    code = "import os, signal; print('compiling', flush=True); os.fork(); signal.pause()"
    stopped = child(code, limit_s=1)
    assert stopped.status == "failed"
    assert stopped.reason == "stopped after 1 s; last output: compiling"


@pytest.mark.slow
def test_a_step_runs_as_a_child(tmp_path: Path) -> None:
    command = [sys.executable, gpu.__file__, "--device", "cpu", "--step", "machine"]
    done = subprocess.run([*command, "--result", tmp_path / "x"], check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "x").read_text())["figures"]["versions"]["torch"]


def test_stills_need_no_reader_of_videos(tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("av", "decord"):
        monkeypatch.setitem(sys.modules, name, None)
    media = EXAMPLES / "media"
    still, clip = tiny.score_items([media / "match.png", media / "steady.mp4"], prompt="a star")
    assert still.error is None
    assert "the package av, which reads videos, is not installed" in str(clip.error)
