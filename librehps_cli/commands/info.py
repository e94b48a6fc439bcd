"""librehps info: the model, device and settings that would be used here."""

import json as jsonlib
from dataclasses import asdict
from typing import Annotated

import typer

from librehps.files import counted
from librehps_cli.ui.given import refuse_given
from librehps_cli.ui.help import MODEL, examples
from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import Json, ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.ui.output import Output

# The parameters that --memory reads.
READ_BY_MEMORY = {
    "memory", "model", "batch_size", "device", "dtype", "revision", "json", "quiet"
}  # fmt: skip

Memory = Annotated[
    bool,
    typer.Option(
        "--memory",
        help="Show the memory that each mode of the weights needs, and which fit; reads only "
        "config.json, so that nothing else is downloaded.",
        rich_help_panel=MODEL,
    ),
]


@examples("librehps info -m tiny --dtype float32", "librehps info --memory")
@grouped
def info(
    context: typer.Context,
    models: ModelOptions,
    memory: Memory = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Show the model, device and settings that would be used, and why."""
    out = Output(quiet, json)
    if memory:
        refuse_given(context, lambda name: name not in READ_BY_MEMORY, "unsupported with --memory")
        _show_memory(models, out)
    else:
        _show_settings(models, out)


def _show_memory(models: ModelOptions, out: Output) -> None:
    from librehps.bench.memory_table import memory_table

    rows = memory_table(
        models.model,
        batch_size=models.batch_size,
        device=models.device,
        dtype=models.dtype,
        revision=models.revision,
    )
    if out.json:
        out.records(map(asdict, rows))
        return
    images, device = rows[0].images, rows[0].device
    out.note(f"{models.model}: {counted(images, 'image')} at a time on {device}")
    out.table(
        ["flags", "weights", "forward", "total", "free", "fits"],
        [[row.flags, *row.texts] for row in rows],
    )


def _show_settings(models: ModelOptions, out: Output) -> None:
    from librehps.decide.calibrators import CALIBRATION_FILE

    scorer = load_scorer(models, PromptOptions(), out)
    calibrator = scorer.calibrator(models.calibration)
    source = models.calibration or scorer.folder / CALIBRATION_FILE
    facts: dict[str, tuple[object, str]] = {
        "device": (", ".join(map(str, scorer.devices)), scorer.reasons["device"]),
        "calibrator": (
            "none" if calibrator is None else f"a={calibrator.a:.4g} b={calibrator.b:.4g}",
            f"{source} not found" if calibrator is None else str(source),
        ),
        "batch_size": (
            scorer.batch_size,
            "--batch-size" if models.batch_size else "auto: by device",
        ),
    }
    for name, value in scorer.settings.record().items():
        facts[name] = (value, scorer.reasons.get(name, ""))
    facts["settings"] = (scorer.settings.digest, "digest of all settings that change a score")
    if out.json:
        record = {name: {"value": value, "why": why} for name, (value, why) in facts.items()}
        out.line(jsonlib.dumps(record, ensure_ascii=False))
    else:
        rows = [[name, _text(value), why] for name, (value, why) in facts.items()]
        out.table(["setting", "value", "why"], rows)


def _text(value: object) -> str:
    """Return a setting as text; the items of a list are separated by commas."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
