"""A training run, from preference pairs to a checkpoint."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from librehps.errors import ItemError, TrainingError, UsageError
from librehps.models.device_list import is_several
from librehps.preferences.media import Key, items_of
from librehps.preferences.pairs import Pair
from librehps.train.base import Base, open_base
from librehps.train.feed import Feed, MediaFeed, StateFeed, readable, reward_states
from librehps.train.loop import METRICS_FILE, STATE_FOLDER, Trainer
from librehps.train.options import TrainOptions
from librehps.train.state import find_state, read_progress

_RUN_SUFFIXES = (".json", ".jsonl", ".safetensors", ".jinja", ".old", ".new", ".weights")
Report = Callable[[str], None]


def check_output(output: Path, resume: bool, overwrite: bool) -> None:
    """Raise UsageError for an output folder with files, without `resume` or `overwrite`."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: not a folder")
    used = output.is_dir() and any(output.iterdir())
    if not used or overwrite:
        return
    ours = (output / METRICS_FILE).exists() or find_state(output / STATE_FOLDER) is not None
    if not resume:
        raise UsageError(
            f"{output}: already exists", hint="Use --resume to continue, --overwrite to replace."
        )
    if not ours:
        raise UsageError(f"cannot resume {output}: no training run found")


def prepare_output(output: Path, overwrite: bool) -> None:
    """Create the folder; `overwrite` empties a folder that holds only a run or a checkpoint."""
    if overwrite and output.is_dir():
        foreign = [
            p.name
            for p in output.iterdir()
            if p.suffix not in _RUN_SUFFIXES and p.name != STATE_FOLDER
        ]
        if foreign:
            raise UsageError(
                f"cannot overwrite {output}: it has other files: {', '.join(sorted(foreign)[:3])}",
                hint="--overwrite replaces only training runs and checkpoints. Use another output.",
            )
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)


def summary(output: Path) -> dict[str, Any]:
    """Return the step count, best step and best held-out loss of a run; empty without a state."""
    state = find_state(output / STATE_FOLDER)
    if state is None:
        return {}
    saved = read_progress(state)
    return {name: saved[name] for name in ("step", "best", "best_loss")}


def train(
    folder: Path,
    output: Path,
    pairs: list[Pair],
    held_out: list[Pair],
    options: TrainOptions,
    resume: bool,
    report: Report,
    device: str = "auto",
) -> Iterator[dict[str, Any]]:
    """Train the checkpoint in `folder` on the pairs; yields the records of `Trainer.run`.

    `output` becomes a checkpoint in the published layout. Under `torchrun` or `accelerate launch`
    every process calls this. Raises TrainingError, CheckpointError.
    """
    from accelerate import Accelerator

    if is_several(device):
        raise UsageError(
            f"train --device: expected one device, got {device}",
            hint="Use torchrun --nproc-per-node N -m librehps_cli train ...",
        )
    cpu = device == "cpu"
    accelerator = Accelerator(cpu=cpu)
    if accelerator.device.type == "cuda":
        accelerator = Accelerator(mixed_precision="bf16")
    with accelerator.main_process_first():
        output.mkdir(parents=True, exist_ok=True)
        base = open_base(folder, output, options, accelerator.device)
    broken: dict[str, ItemError] = {}
    pairs, held_out = (readable(part, base, broken) for part in (pairs, held_out))
    for error in broken.values():
        report(f"skipped, with its pairs: {error}")
    if options.global_batch(accelerator.num_processes) > len(pairs):
        raise TrainingError(
            f"{len(pairs)} training pairs are fewer than one step needs: "
            f"{options.global_batch(accelerator.num_processes)}",
            hint="Lower --batch-size or --accumulate.",
        )
    feed = _feed(base, [*pairs, *held_out], options, accelerator)
    trainer = Trainer(base, feed, pairs, held_out, options, output, accelerator)
    yield from trainer.run(resume)
    accelerator.end_training()


def _feed(base: Base, pairs: list[Pair], options: TrainOptions, accelerator: Any) -> Feed:
    """Return the feed: media for each step, or states computed once if only heads train."""
    if options.part != "heads":
        return MediaFeed(base)
    from accelerate.utils import gather_object

    mine = list(items_of(pairs).items())[accelerator.process_index :: accelerator.num_processes]

    def compute() -> dict[Key, Tensor]:
        states = reward_states(mine, base, 2 * options.batch_size)
        return dict(gather_object(list(states.items())))

    return StateFeed(base, compute)
