"""librehps info: the model, device and settings that would be used here."""

import json as jsonlib

from librehps_cli.ui.help import examples
from librehps_cli.ui.load import load_scorer
from librehps_cli.ui.options import Json, ModelOptions, PromptOptions, Quiet, grouped
from librehps_cli.ui.output import Output


@examples("librehps info -m tiny", "librehps info -m tiny --dtype float32 --json")
@grouped
def info(models: ModelOptions, json: Json = None, quiet: Quiet = False) -> None:
    """Show the model, device and settings that would be used, and why."""
    from librehps.decide.calibrators import CALIBRATION_FILE

    out = Output(quiet, json)
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
