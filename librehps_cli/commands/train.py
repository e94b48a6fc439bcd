"""librehps train: fine-tuning of a checkpoint, or of a plain Qwen3.5, on preferences."""

import json as jsonlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from librehps.choices import SigmaLoss, TrainedPart
from librehps.files import counted
from librehps_cli.ui.help import INPUT, OUTPUT, examples
from librehps_cli.ui.load import find_checkpoint
from librehps_cli.ui.media_flags import MediaFlags
from librehps_cli.ui.options import CheckpointOptions, Overwrite, Quiet, grouped
from librehps_cli.ui.output import Output
from librehps_cli.ui.pair_options import PairsFile, PreferenceOptions
from librehps_cli.ui.preferences import load_preferences

LEARNING, RUN = "Training", "Evaluation and saving"


@dataclass(frozen=True)
class LearningOptions(MediaFlags):
    """Flags that set the fields of librehps.train.options.TrainOptions."""

    part: Annotated[
        TrainedPart,
        typer.Option(
            metavar="PART",
            help="Weights to train: heads, lora (heads and adapters of the text layers), full "
            "(everything).",
            rich_help_panel=LEARNING,
        ),
    ] = "lora"
    sigma: Annotated[
        SigmaLoss,
        typer.Option(
            metavar="LOSS",
            help="plain: Bradley-Terry loss on mu, then sigma; aware: mu differences divided by "
            "sigma.",
            rich_help_panel=LEARNING,
        ),
    ] = "plain"
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Passes over the pairs (default: 20 for heads, else 2).",
            rich_help_panel=LEARNING,
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Optimiser steps, instead of --epochs.",
            rich_help_panel=LEARNING,
        ),
    ] = None
    batch_size: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Pairs in a batch, per process.", rich_help_panel=LEARNING
        ),
    ] = 8
    accumulate: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Batches per optimiser step.", rich_help_panel=LEARNING
        ),
    ] = 1
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            help="Learning rate of the backbone (default: 1e-4 for lora, 1e-5 for full).",
            rich_help_panel=LEARNING,
        ),
    ] = None
    head_rate: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0, help="Learning rate of the heads.", rich_help_panel=LEARNING
        ),
    ] = 5e-4
    weight_decay: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0, help="Weight decay of the optimiser.", rich_help_panel=LEARNING
        ),
    ] = 0.01
    warm_up: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Share of the steps that warm up the learning rate.",
            rich_help_panel=LEARNING,
        ),
    ] = 0.05
    clip: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", min=0, help="Largest norm of the gradient.", rich_help_panel=LEARNING
        ),
    ] = 1.0
    rating_weight: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            min=0,
            help="Weight of the columns rating_a, rating_b in the loss.",
            rich_help_panel=LEARNING,
        ),
    ] = 0.1
    lora_rank: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Rank of the adapters of --part lora.",
            rich_help_panel=LEARNING,
        ),
    ] = 16
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            help="Use less memory and more time.",
            rich_help_panel=LEARNING,
        ),
    ] = False
    held_out_share: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.001,
            max=0.9,
            help="Share of the prompts held out, without --held-out.",
            rich_help_panel=RUN,
        ),
    ] = 0.1
    eval_every: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Steps between evaluations; 0: once per pass.",
            rich_help_panel=RUN,
        ),
    ] = 0
    save_every: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Steps between saved states.", rich_help_panel=RUN),
    ] = 200
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Random seed.", rich_help_panel=RUN)
    ] = 0


@examples(
    "librehps train outputs/pairs.jsonl -m tiny --part heads -o ours",
    "librehps train outputs/pairs.jsonl -m tiny --part heads --steps 20 -o quick",
)
@grouped
def train(
    pairs: PairsFile,
    preferences: PreferenceOptions,
    checkpoint: CheckpointOptions,
    learning: LearningOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the new checkpoint.",
            rich_help_panel=OUTPUT,
        ),
    ],
    held_out: Annotated[
        str | None,
        typer.Option(
            metavar="PAIRS",
            help="File of preferences to evaluate on, not trained on.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished run.", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on preferences, and keep the best checkpoint on held-out pairs.

    On several devices: torchrun --nproc-per-node N -m librehps_cli train ...

    `python examples/tiny/outputs.py outputs` makes the files of the examples.
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
    separate = None if held_out is None else load_preferences(held_out, preferences).pairs
    learned, reported = halves(read, separate, options)
    out.note(f"{counted(len(learned), 'pair')} to train on, {len(reported)} held out")
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
