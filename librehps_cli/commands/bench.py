"""librehps bench: the speed of a model on this machine, stage by stage."""

import json as jsonlib
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from librehps.choices import BenchConfig, PictureFormat
from librehps.errors import UsageError
from librehps_cli.ui.given import refuse_given
from librehps_cli.ui.help import MODEL, examples
from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import (
    ComputeOptions,
    Json,
    ModelOptions,
    PromptOptions,
    Quiet,
    grouped,
)
from librehps_cli.ui.output import Output

if TYPE_CHECKING:
    from librehps import LibreHPS
    from librehps.bench.measure import Measured
    from librehps.bench.workload import Workload

QUICK = {"images": 4, "repeats": 1, "rows": 500}
# Parameters without an effect on random weights.
OF_CHECKPOINTS = {"model", "revision", "download"}
IMAGES, TIMING = "Images", "Timing"


@examples(
    "librehps bench -m tiny --quick",
    "librehps bench --config 47m --quick --batch-sizes 1,4",
)
@grouped
def bench(
    context: typer.Context,
    models: ComputeOptions,
    config: Annotated[
        BenchConfig | None,
        typer.Option(
            metavar="SIZE",
            help="Use random weights instead of a model: 4b (as large as the published model), 47m "
            "(for a CPU), tiny (as large as the built-in model).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Size of the images in pixels.", rich_help_panel=IMAGES
        ),
    ] = "1024x1024",
    format: Annotated[
        PictureFormat,
        typer.Option(
            metavar="FORMAT", help="Format of the images: jpeg or png.", rich_help_panel=IMAGES
        ),
    ] = "jpeg",
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of images (default: 64).", rich_help_panel=IMAGES
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Batch sizes to time, as 1,4,16 (default: by device).",
            rich_help_panel=TIMING,
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Runs of each batch size; the median counts (default: 5).",
            rich_help_panel=TIMING,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Run for a few seconds only; the figures are rough.",
            rich_help_panel=TIMING,
        ),
    ] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure the speed of each stage on this machine, in images per second.

    The images are rendered for the measurement. --batch-size is the batch size of the end-to-end
    run.
    """
    from librehps.bench.measure import measure

    out = Output(quiet, json)
    workload = _workload(size, format, images, batch_sizes, repeats, quick)
    measured = measure(_scorer(context, models, config, out), workload, out.note)
    if out.json:
        out.line(jsonlib.dumps(measured.record(), ensure_ascii=False))
    else:
        _print(measured, out)


def _workload(
    size: str,
    format: PictureFormat,
    images: int | None,
    batch_sizes: str | None,
    repeats: int | None,
    quick: bool,
) -> "Workload":
    """Return the workload of the flags, with defaults of --quick or of a full run."""
    from librehps.bench.workload import Workload

    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    if sides is None:
        raise UsageError(
            f"--size: expected WIDTHxHEIGHT, got {size!r}", hint="Use --size 1024x1024."
        )
    given: dict[str, Any] = {"images": images, "repeats": repeats}
    counts = (QUICK if quick else {}) | {k: v for k, v in given.items() if v is not None}
    width, height = map(int, sides.groups())
    sweep = None if batch_sizes is None else _numbers(batch_sizes)
    return Workload(
        width=width, height=height, format=format, batch_sizes=sweep, quick=quick, **counts
    )


def _numbers(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", text):
        raise UsageError(
            f"--batch-sizes: expected N,N,..., got {text!r}", hint="Use --batch-sizes 1,4,16."
        )
    return tuple(map(int, text.split(",")))


def _scorer(
    context: typer.Context, models: ComputeOptions, config: BenchConfig | None, out: Output
) -> "LibreHPS":
    from librehps.bench.measure import one_device

    device = one_device(models.device)
    if config is None:
        return load_scorer(ModelOptions(**vars(models)), PromptOptions(), out)
    from librehps.bench.random_model import random_scorer

    problem = f"unsupported here, --config {config} uses random weights"
    refuse_given(context, OF_CHECKPOINTS.__contains__, problem)
    return random_scorer(
        config,
        models.attn,
        models.dtype,
        device,
        models.batch_size,
        models.model_weights,
        models.compile,
    )


def _print(measured: "Measured", out: Output) -> None:
    _print_setting(measured, out)
    out.text("")
    _print_stages(measured, out)
    out.text("")
    rows = []
    for rate in measured.forward:
        figures = [_figure(rate.forward), *_arithmetic(measured, rate.forward)]
        rows.append([str(rate.batch_size), *figures, _figure(rate.collate)])
    out.table(["batch", "forward images/s", "GFLOP/s", "of matmul", "collate images/s"], rows)
    if measured.decode_cores is not None:
        cores = f"{measured.decode_cores} core{'s' * (measured.decode_cores > 1)}"
        out.text("")
        out.text(f"{cores} needed to decode as fast as the forward pass.")
    for note in measured.notes:
        out.text(note)


def _print_setting(measured: "Measured", out: Output) -> None:
    machine, model, pictures = measured.machine, measured.model, measured.pictures
    facts = {
        "model": f"{model['name']}, {model['parameters'] / 1e6:,.1f} M parameters",
        "runs as": f"{model['dtype']}, {model['weights']} weights, {model['attention']}, "
        f"{model['delta_rule']} delta rule",
        "device": f"{machine['device']} ({machine['name']})",
        "threads": f"{machine['threads']} of torch on {machine['cores']} cores",
        "torch": machine["torch"],
        "pictures": "{count} of {width} x {height}, {format}".format(**pictures),
        "model reads": "{model_width} x {model_height}, {tokens} tokens".format(**pictures)
        + f", {measured.flops.total / 1e9:,.4g} GFLOP an image",
        "matmul": f"{measured.matmul:,.0f} GFLOP/s in {model['dtype']}",
    }
    if measured.by_dtype is not None:
        pace = ", ".join(f"{_figure(rate)} in {name}" for name, rate in measured.by_dtype.items())
        facts["faster dtype"] = f"{measured.faster_dtype} (small matmul, GFLOP/s: {pace})"
    out.table(["setting", "value"], list(map(list, facts.items())))


def _print_stages(measured: "Measured", out: Output) -> None:
    decode, best, run = measured.decode, measured.best, measured.run
    transfer = "-" if measured.transfer is None else _figure(measured.transfer)
    rows = [
        ["decode, one core", _figure(decode.one_thread), "", ""],
        [f"decode, {decode.workers} threads", _figure(decode.all_workers), "", ""],
        ["transfer", transfer, "", ""],
    ]
    if best is not None:
        arithmetic = _arithmetic(measured, best.forward)
        rows.append([f"forward, batch {best.batch_size}", _figure(best.forward), *arithmetic])
    rows.append(["write (rows/s)", _figure(measured.write), "", ""])
    if run is not None:
        arithmetic = _arithmetic(measured, run.images_per_s)
        rows.append([f"end to end, batch {run.batch_size}", _figure(run.images_per_s), *arithmetic])
    out.table(["stage", "images/s", "GFLOP/s", "of matmul"], rows)


def _arithmetic(measured: "Measured", images_per_s: float) -> list[str]:
    figures = measured.arithmetic(images_per_s)
    return [_figure(figures["gflops"]), f"{figures['share_of_matmul']:.0%}"]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
