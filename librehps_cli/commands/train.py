"""librehps train: fine-tune a checkpoint, or a plain Qwen3.5, on preferences."""

import json as jsonlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from librehps.choices import SigmaLoss, TrainedPart
from librehps_cli.ui.load import find_checkpoint
from librehps_cli.ui.options import CheckpointOptions, PairsFile, PreferenceOptions, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.preferences import load_preferences

LEARNING, RUN = "Learning", "Run"


@dataclass(frozen=True)
class LearningOptions:
    """Fields of librehps.train.options.TrainOptions, as flags."""

    part: Annotated[
        TrainedPart,
        typer.Option(
            help="The heads, adapters of the text layers too, or everything.",
            rich_help_panel=LEARNING,
        ),
    ] = "lora"
    sigma: Annotated[
        SigmaLoss,
        typer.Option(
            help="plain: Bradley-Terry on mu, sigma follows; aware: sigma inside the gap.",
            rich_help_panel=LEARNING,
        ),
    ] = "plain"
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes (default: heads 20, else 2).", rich_help_panel=LEARNING),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Optimiser steps, instead of passes.", rich_help_panel=LEARNING),
    ] = None
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="Pairs of a process and a pass.", rich_help_panel=LEARNING),
    ] = 8
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches of an optimiser step.", rich_help_panel=LEARNING)
    ] = 1
    rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="Of the backbone (lora 1e-4, full 1e-5).", rich_help_panel=LEARNING
        ),
    ] = None
    head_rate: Annotated[
        float, typer.Option(min=0, help="Of the heads.", rich_help_panel=LEARNING)
    ] = 5e-4
    weight_decay: Annotated[float, typer.Option(min=0, rich_help_panel=LEARNING)] = 0.01
    warm_up: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps.", rich_help_panel=LEARNING)
    ] = 0.05
    clip: Annotated[
        float, typer.Option(min=0, help="Norm of the gradient.", rich_help_panel=LEARNING)
    ] = 1.0
    rating_weight: Annotated[
        float,
        typer.Option(min=0, help="Of rating_a, rating_b in the loss.", rich_help_panel=LEARNING),
    ] = 0.1
    lora_rank: Annotated[int, typer.Option(min=1, rich_help_panel=LEARNING)] = 16
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing", help="Less memory, more time.", rich_help_panel=LEARNING
        ),
    ] = False
    num_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a clip (default: the model's).", rich_help_panel=RUN),
    ] = None
    held_out_share: Annotated[
        float,
        typer.Option(
            min=0.001, max=0.9, help="Of PAIRS, by prompt, without --held-out.", rich_help_panel=RUN
        ),
    ] = 0.1
    eval_every: Annotated[
        int, typer.Option(min=0, help="Steps; 0: once a pass.", rich_help_panel=RUN)
    ] = 0
    save_every: Annotated[
        int, typer.Option(min=1, help="Steps between saved states.", rich_help_panel=RUN)
    ] = 200
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=RUN)] = 0


@grouped
def train(
    pairs: PairsFile,
    preferences: PreferenceOptions,
    checkpoint: CheckpointOptions,
    learning: LearningOptions,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new checkpoint.")],
    held_out: Annotated[
        Path | None, typer.Option(help="Preferences to report on.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train on preferences; OUTPUT keeps the checkpoint that is best on held-out pairs.

    On several devices: torchrun --nproc-per-node N -m librehps_cli train ... (accelerate inside).
    """
    from librehps.extras import require
    from librehps.train.options import TrainOptions, halves
    from librehps.train.run import check_output, prepare_output, summary
    from librehps.train.run import train as run

    require("train", "librehps train")
    first = os.environ.get("RANK", "0") == "0"
    out = Output(quiet or not first, True)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    options = TrainOptions(**vars(learning))
    if first:
        check_output(output, resume, overwrite)
    read = load_preferences(pairs, preferences).pairs
    told = None if held_out is None else load_preferences(held_out, preferences).pairs
    learned, reported = halves(read, told, options)
    out.note(f"{len(learned)} pairs to train on, {len(reported)} held out")
    folder = find_checkpoint(checkpoint, out)
    if first:
        prepare_output(output, overwrite)
    for record in run(
        folder, output, learned, reported, options, resume, out.note, checkpoint.device
    ):
        out.note(_sentence(record))
    if first:
        out.line(jsonlib.dumps({"output": str(output), **summary(output)}))


def _sentence(record: dict[str, Any]) -> str:
    if record["step"] == 0:
        return "before training: " + _held_out(record["held_out"])
    text = f"step {record['step']}/{record['steps']}: loss {record['loss']:.4f}"
    if "held_out" in record:
        text += "; " + _held_out(record["held_out"])
    left = (record["steps"] - record["step"]) * record["seconds_a_step"]
    return f"{text}; {left / 60:.0f} min left"


def _held_out(figures: dict[str, float]) -> str:
    return f"held-out loss {figures['loss']:.4f}, accuracy {figures['accuracy']:.3f}"
