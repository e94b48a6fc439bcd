"""The report of the GPU checks: JSON for programs, Markdown for people, a table for the end."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpu_steps.base import Figures, Result, Where

PACKAGES = (
    *("torch", "triton", "transformers", "torchao", "bitsandbytes", "flash-attn"),
    *("flash-attn-4", "safetensors", "pillow", "numpy", "pyarrow"),
)
JSON_NAME, MARKDOWN_NAME = "gpu-report.json", "gpu-report.md"


def machine(where: Where) -> Figures:
    """Return the device, the machine, and the versions of the packages that matter."""
    import torch

    figures: Figures = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "device": where.device,
        "config": where.config,
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if torch.device(where.device).type == "cuda":
        found = torch.cuda.get_device_properties(where.device)
        free, total = torch.cuda.mem_get_info(where.device)
        figures |= {
            "gpu": found.name,
            "capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "memory_gb": total / 1e9,
            "free_gb": free / 1e9,
            "cuda": torch.version.cuda,
            "gpus": torch.cuda.device_count(),
        }
    return figures


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(folder: Path, results: list[Result], seconds: float) -> None:
    """Write gpu-report.json and gpu-report.md; called after each step, so that none is lost."""
    record = {"seconds": seconds, "steps": [result.record() for result in results]}
    text = json.dumps(record, indent=1, default=str)
    (folder / JSON_NAME).write_text(text + "\n")
    (folder / MARKDOWN_NAME).write_text(markdown(results, seconds))


def markdown(results: list[Result], seconds: float) -> str:
    """Return the report as Markdown: the machine, the table of steps, the figures of each."""
    lines = ["# GPU report", "", f"{len(results)} steps in {seconds:.0f} s.", ""]
    lines += ["| step | result | seconds | figures |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(results)]
    for result in results:
        lines += ["", f"## {result.name}: {result.status}", ""]
        if result.reason:
            lines += [result.reason, ""]
        lines += list(_nested(result.figures, ""))
    return "\n".join(lines) + "\n"


def rows(results: list[Result]) -> list[list[str]]:
    """Return name, status, seconds and a summary of each step."""
    return [
        [result.name, result.status, f"{result.seconds:.0f}", result.reason or summary(result)]
        for result in results
    ]


def table(results: list[Result]) -> str:
    """Return the table of steps as lines of text."""
    cells = [["step", "result", "s", ""], *rows(results)]
    widths = [max(len(row[at]) for row in cells) for at in range(3)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in cells
    )


def summary(result: Result) -> str:
    """Return the figure of a step that a reader looks for first."""
    figures = result.figures
    if "best" in figures:
        best = figures["best"]
        return (
            f"{best['images_per_s']:.1f} images/s at batch {best['batch_size']}, "
            f"{best['share_of_matmul']:.0%} of matmul, peak {best['peak_gb']:.1f} GB, "
            f"first forward {figures['first_forward_s']:.1f} s"
        )
    if figures.get("end_to_end"):
        run = figures["end_to_end"]
        return (
            f"{run['images_per_s']:.1f} images/s from files, {run['share_of_matmul']:.0%} of matmul"
        )
    if "gpu" in figures:
        return (
            f"{figures['gpu']}, {figures['memory_gb']:.0f} GB, torch {figures['versions']['torch']}"
        )
    numbers = {name: value for name, value in figures.items() if isinstance(value, float)}
    worst = {
        f"{name} {key}": value[key]
        for name, value in figures.items()
        if isinstance(value, dict)
        for key in ("golden", "tiny")
        if key in value
    }
    shown = {**worst, **numbers}
    return ", ".join(f"{name} {value:.3g}" for name, value in list(shown.items())[:6])


def _nested(value: Any, indent: str) -> list[str]:
    """Return the lines of a nested list of figures."""
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in pairs:
        if isinstance(inner, dict | list) and inner:
            lines.append(f"{indent}- {name}:")
            lines += _nested(inner, indent + "  ")
        else:
            shown = f"{inner:.4g}" if isinstance(inner, float) else inner
            lines.append(f"{indent}- {name}: {shown}")
    return lines
