"""Check and time librehps on a GPU in one command of at most `--minutes`: `make gpu`.

    python benchmarks/gpu.py [--minutes 8] [--device cuda] [--config 4b] [--only NAME,...]

Runs with the packages that are there, installs nothing and needs no network. Each step is a child
process with a time limit: a step that fails or hangs does not stop the others. Writes
gpu-report.json and gpu-report.md. Exits with 0 if every step passed or was skipped, 1 if one
failed, 2 if there is no such device.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Run as a script, from a checkout that is not installed.
sys.path[:0] = [str(ROOT / "core"), str(ROOT / "benchmarks")]

from gpu_steps.base import Figures, Result, Step, Where  # noqa: E402
from gpu_steps.children import child_command, run_here, run_in_child  # noqa: E402
from gpu_steps.report import JSON_NAME, MARKDOWN_NAME, machine, table, write  # noqa: E402

NO_DEVICE, SOME_FAILED = 2, 1
# A step is not begun with less time left than this share of what it usually takes.
LEAST_SHARE = 0.5


def _golden(where: Where, **how: Any) -> Figures:
    from gpu_steps.accuracy import golden

    return golden(where, **how)


def _forward(
    where: Where,
    kernel: str | None = None,
    embedding_on_device: bool = False,
    **arguments: Any,
) -> Figures:
    from gpu_steps.speed import Lever, forward

    return forward(where, Lever(arguments, kernel, embedding_on_device))


def _stages(where: Where) -> Figures:
    from gpu_steps.speed import stages

    return stages(where)


def _halving(where: Where) -> Figures:
    from gpu_steps.memory import halving

    return halving(where)


def _lanes(where: Where) -> Figures:
    from gpu_steps.memory import lanes

    return lanes(where)


# The most important first: what is left when the time is over is skipped.
STEPS = (
    Step("machine", machine, 10, 60),
    Step("golden float32", _golden, 45, 120),
    Step("golden bfloat16", partial(_golden, dtype="bfloat16"), 45, 120),
    Step("forward", _forward, 30, 75),
    Step("out of memory", _halving, 15, 60),
    Step("stages", _stages, 45, 100),
    Step("golden int8", partial(_golden, dtype="bfloat16", weights="int8"), 45, 120),
    Step("forward int8", partial(_forward, weights="int8"), 30, 75),
    Step("forward compiled", partial(_forward, compile=True), 60, 150),
    Step("forward eager", partial(_forward, attn_impl="eager"), 25, 60),
    Step("forward fa4", partial(_forward, attn_impl="fa4"), 25, 60),
    Step("forward fa2", partial(_forward, attn_impl="fa2"), 25, 60),
    Step("forward sdpa", partial(_forward, attn_impl="sdpa"), 25, 60),
    Step("forward without Triton", partial(_forward, kernel="torch"), 25, 60),
    Step("forward embedding on device", partial(_forward, embedding_on_device=True), 25, 60),
    Step("golden compiled", partial(_golden, attentions=("sdpa",), compile=True), 60, 150),
    Step("lanes", _lanes, 25, 60),
)

Run = Callable[[Step, Where, float], Result]


def main(words: list[str] | None = None, run: Run | None = None) -> int:
    """Run the steps and return the exit code; `run` replaces the child processes in tests."""
    options = _options(words)
    only = options.only or [step.name for step in STEPS]
    if unknown := {*only} - {step.name for step in STEPS}:
        return _say(f"--only: unknown step {', '.join(sorted(unknown))}")
    where = Where(options.device, options.config, options.every)
    if options.step is not None:
        return _child(options.step, where, Path(options.result))
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        return _say(f"{sys.executable} has no {' and no '.join(missing)}. Use make gpu PYTHON=...")
    obstacle = _obstacle(where.device)
    if obstacle is not None:
        return _say(f"{obstacle}. Use --device cpu --config tiny to try the checks.")
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    steps = [step for step in STEPS if step.name in only]
    for result in run_steps(steps, where, options.minutes * 60, run or _in_child):
        print(table([result]).splitlines()[1], flush=True)
        results.append(result)
        # After each step: a command that is stopped leaves what it has found.
        write(options.out, results, sum(result.seconds for result in results))
    print(f"\n{table(results)}\n\n{options.out / JSON_NAME}, {options.out / MARKDOWN_NAME}")
    return SOME_FAILED if any(result.status == "failed" for result in results) else 0


def run_steps(steps: list[Step], where: Where, budget_s: float, run: Run) -> Iterator[Result]:
    """Yield the result of each step; a step that no longer fits into the budget is skipped."""
    end = time.perf_counter() + budget_s
    for step in steps:
        left = end - time.perf_counter()
        if left < step.about_s * LEAST_SHARE:
            reason = f"no time: about {step.about_s:.0f} s needed, {max(0, left):.0f} s left"
            yield Result(step.name, "skipped", reason)
        else:
            yield run(step, where, min(step.limit_s, left))


def _in_child(step: Step, where: Where, limit_s: float) -> Result:
    return run_in_child(step.name, child_command(Path(__file__), step.name, where), limit_s)


def _child(name: str, where: Where, output: Path) -> int:
    [step] = [step for step in STEPS if step.name == name]
    output.write_text(json.dumps(run_here(step, where).record(), default=str))
    return 0


def _obstacle(device: str) -> str | None:
    """Return why the device cannot be used, in one line, or None."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        why = "no NVIDIA GPU or no driver" if built else "this PyTorch has no CUDA"
        return f"no GPU found: {why} (torch {torch.__version__})"
    return None


def _say(text: str) -> int:
    print(f"gpu: {text}", file=sys.stderr)
    return NO_DEVICE


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="no step runs longer than this")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--config", default="4b", help="size of the random model: 4b, 47m, tiny")
    parser.add_argument(
        "--only", type=lambda names: names.split(","), help="names of steps, with commas between"
    )
    parser.add_argument("--every", type=int, default=1, help="score each N-th golden case")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the report")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
