"""Train LibreHPS-Tiny on rendered scenes, in an hour; killed, the same command goes on.

    python examples/tiny/train.py --out runs/tiny

Groups of pictures answer one caption and differ in defects; every pair of a group teaches each
axis by a Bradley-Terry loss, rows that show what the caption says also learn to predict it, and
probes ask what each vision token shows and where each named thing stands.
"""

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import drawing
import sampling
import scenes
from librehps.models.base import Prepared
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import collate, forward, grid_of
from librehps.models.librehps.heads import run_heads
from librehps.models.librehps.resize import UNIT, resize
from librehps.models.librehps.tokens import PromptEncoder
from librehps.train import losses
from librehps.train.options import rate_factor
from librehps.train.state import find_state, keep_lines, load_state, log_line, save_state
from librehps.types import Kind
from model import FRAMES, SIDE, build_tokenizer, fresh_model, model_config
from probes import CellProbe, DefectProbe, Mention, PlaceProbe, mentions, stack

GROUP = 4
# Pictures come at other sizes too, and the resize leaves its marks on edges.
RENDERED_SIDES = (128, 128, 128, 192, 256)
# Of the terms of the loss.
WEIGHTS = {
    "pairs": 1.0,
    "honesty": 0.1,
    "caption": 0.5,
    "rating": 0.1,
    "cells": 1.0,
    "places": 0.5,
    "defects": 1.0,
}
PEAK_RATE, WARM_UP, DECAY = 1.5e-3, 0.05, 0.02
# Steps of each rise and fall of the rate. Style is learnt last: in the second it is shown more,
# and clips too.
CYCLES = (6500, 1500)
LATE = "style"
# Batches that are rendered ahead, in a process of their own.
AHEAD = 3
# Of the process that renders.
_encoder: PromptEncoder
# Threads that share a batch.
LANES = 2
# Batches that the middle of each axis is taken from.
CENTRED = 30
SEED = 1
SAVE_EVERY = 250
LOG_EVERY = 50


@dataclass(frozen=True)
class Example:
    """A rendered scene; severities over AXES (overall included), NaN where there is no axis."""

    prepared: Prepared
    prompt_ids: list[int]
    severity: list[float]
    defects: drawing.Defects
    true_caption: bool
    cells: list[tuple[int, int]]
    mentions: list[Mention]

    @property
    def caption_start(self) -> int:
        """Index of the caption's first token in the row."""
        return int(self.prepared.vision[-1]) + 2


class Student(nn.Module):
    """The model and its probes, trained together."""

    def __init__(self, model: RewardModel) -> None:
        super().__init__()
        hidden = model.scalar_head.proj.in_features
        self.model, self.cells, self.places = model, CellProbe(hidden), PlaceProbe(hidden)
        self.defects = DefectProbe(hidden)


def is_late(step: int) -> bool:
    return step > CYCLES[0]


def is_of_clips(step: int) -> bool:
    """Every third step is of clips; later every second."""
    return step % (2 if is_late(step) else 3) == 0


def start_rendering(tokenizer: Path) -> None:
    """Make a process ready for `make_batch`."""
    global _encoder
    torch.set_num_threads(1)
    _encoder = PromptEncoder(tokenizer)


def make_batch(step: int, groups: int) -> list[Example]:
    """The step's examples, by nothing but its number: groups of GROUP that answer one caption."""
    rng, clips = random.Random(f"{SEED} {step}"), is_of_clips(step)
    favoured = LATE if is_late(step) else None
    examples = []
    for _ in range(groups // 2 if clips else groups):
        caption = scenes.random_caption(rng)
        examples += [_example(caption, rng, _encoder, clips, favoured) for _ in range(GROUP)]
    return examples


def batches(first: int, groups: int, tokenizer: Path) -> Iterator[tuple[int, list[Example]]]:
    """(step, examples) of every step from `first` on, rendered ahead."""
    last = sum(CYCLES)
    with ProcessPoolExecutor(1, get_context("spawn"), start_rendering, (tokenizer,)) as pool:
        waiting: deque[Future[list[Example]]] = deque()
        for step in range(first, last + 1):
            while len(waiting) < AHEAD and step + len(waiting) <= last:
                waiting.append(pool.submit(make_batch, step + len(waiting), groups))
            yield step, waiting.popleft().result()


def _example(
    caption: scenes.Caption,
    rng: random.Random,
    encoder: PromptEncoder,
    clips: bool,
    favoured: str | None,
) -> Example:
    defects = sampling.random_defects(rng, clips, favoured)
    shown, changes = drawing.show(caption, defects, rng)
    side = rng.choice(RENDERED_SIDES)
    if clips:
        frames = drawing.render_clip(shown, defects, rng, side, FRAMES)
    else:
        frames = [drawing.render(shown, defects, rng, side)]
    if rng.random() < 0.3:
        quality = rng.randint(75, 95)
        frames = [drawing.as_jpeg(frame, quality) for frame in frames]
    pixels = torch.from_numpy(np.stack([np.asarray(f) for f in frames])).permute(0, 3, 1, 2)
    pixels = resize(pixels.contiguous(), SIDE * SIDE)
    kind: Kind = "video" if clips else "image"
    prompt_ids = encoder.encode_prompt(caption.text)
    severity = defects.severity
    stream = encoder.stream(kind, grid_of(pixels), prompt_ids)
    return Example(
        prepared=Prepared(pixels, stream.ids, stream.positions, stream.vision),
        prompt_ids=prompt_ids,
        severity=[
            defects.badness,
            *(severity.get(axis, 0.0) for axis in drawing.AXES[:3]),
            severity.get("temporal", 0.0) if clips else float("nan"),
        ],
        defects=defects,
        true_caption=not changes,
        cells=scenes.cells(shown, SIDE // UNIT),
        mentions=mentions(caption, shown, encoder),
    )


def pair_terms(mu: Tensor, sigma: Tensor, severity: Tensor) -> dict[str, Tensor]:
    """Losses over the pairs and axes of each group where severities differ.

    mu, sigma, severity: (groups, GROUP, 5). The target is soft where severities are close.
    """
    i, j = torch.triu_indices(GROUP, GROUP, 1)
    worse = severity[:, j] - severity[:, i]
    target = torch.where(worse.abs() > 0.02, torch.sigmoid(worse * 40), float("nan"))
    gap, spread = mu[:, i] - mu[:, j], torch.hypot(sigma[:, i], sigma[:, j])
    return {
        "pairs": losses.pair_loss(gap, target),
        "honesty": losses.honesty_loss(gap, target, spread),
    }


def caption_loss(model: RewardModel, hidden: Tensor, examples: list[Example]) -> Tensor:
    """Cross-entropy of the caption's tokens, given the picture, on rows where it is true."""
    rows, at, targets = [], [], []
    for row, example in enumerate(examples):
        if example.true_caption:
            before = example.caption_start - 1
            rows += [row] * len(example.prompt_ids)
            at += list(range(before, before + len(example.prompt_ids)))
            targets += example.prompt_ids
    logits = hidden[rows, at] @ model.model.language_model.embed_tokens.weight.T
    return F.cross_entropy(logits, torch.tensor(targets))


def place_loss(probe: PlaceProbe, hidden: Tensor, examples: list[Example]) -> Tensor:
    """The place probe at the end of every name of every caption."""
    named = [(row, e.caption_start, m) for row, e in enumerate(examples) for m in e.mentions]
    rows, at = [row for row, _, _ in named], [start + m.end for _, start, m in named]
    return probe.loss(hidden[rows, at], stack([m.bins for _, _, m in named]))


def loss_terms(student: Student, examples: list[Example], clips: bool) -> dict[str, Tensor]:
    """Every term of the loss for a batch of whole groups, unweighted."""
    model = student.model
    batch = collate([e.prepared for e in examples], torch.device("cpu"))
    vision = model.vision_tokens(batch)
    hidden = model.hidden_states(batch, vision)
    last = hidden[torch.arange(len(examples)), batch.last]
    output = run_heads(model.multi_axis_head, model.scalar_head, last)
    severity = torch.tensor([e.severity for e in examples]).unflatten(0, (-1, GROUP))
    mu, sigma = (tensor.unflatten(0, (-1, GROUP)) for tensor in (output.mu, output.sigma))
    terms = {
        **pair_terms(mu, sigma, severity),
        "caption": caption_loss(model, hidden, examples),
        # The scalar head rates the same as overall, on a scale of its own.
        "rating": losses.rating_loss(output.scalar, 1 - severity[..., 0].flatten()),
        "places": place_loss(student.places, hidden, examples),
        "defects": student.defects.loss(
            vision.unflatten(0, (len(examples), -1)), [e.defects for e in examples]
        ),
    }
    if not clips:
        # In clips the things move from cell to cell.
        terms["cells"] = student.cells.loss(vision, stack([c for e in examples for c in e.cells]))
    return terms


def start_lane() -> None:
    """Make a thread ready for `_gradients`."""
    torch.set_num_threads(1)


def _gradients(
    student: Student, clips: bool, examples: list[Example]
) -> tuple[tuple[Tensor | None, ...], dict[str, float]]:
    """Return the student's gradients on a part of a batch, and the terms of the loss."""
    terms = loss_terms(student, examples, clips)
    loss = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
    found = torch.autograd.grad(loss, list(student.parameters()), allow_unused=True)
    return found, {name: term.item() for name, term in terms.items()}


def backward(
    pool: Executor, student: Student, examples: list[Example], clips: bool
) -> dict[str, float]:
    """Set each parameter's gradient to the mean over the parts of the batch; gives the terms.

    A part is whole groups in a thread of its own: two threads of one part meet after every small
    operation, which costs a sixth of the time.
    """
    size = -(-len(examples) // GROUP // LANES) * GROUP
    parts = [examples[at : at + size] for at in range(0, len(examples), size)]
    results = list(pool.map(partial(_gradients, student, clips), parts))
    for parameter, *found in zip(student.parameters(), *(r[0] for r in results), strict=True):
        known = [gradient for gradient in found if gradient is not None]
        parameter.grad = torch.stack(known).sum(0) / len(parts) if known else None
    return {n: sum(terms[n] for _, terms in results) / len(parts) for n in results[0][1]}


def optimiser_for(student: Student) -> torch.optim.AdamW:
    """AdamW; norms and biases are not decayed."""
    parameters = list(student.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))


def rate_at(step: int) -> float:
    """Share of the peak rate; each cycle rises and falls anew."""
    for length in CYCLES:
        if step <= length:
            return rate_factor(step, length, WARM_UP)
        step -= length
    return 0.0


def train(student: Student, tokenizer: Path, groups: int, folder: Path) -> None:
    """State is kept in `folder`, and taken up where it is there."""
    optimiser, parameters = optimiser_for(student), dict(student.named_parameters())
    state, metrics = folder / "state", folder / "metrics.jsonl"
    found = find_state(state)
    done = 0 if found is None else load_state(found, parameters, optimiser)["step"]
    keep_lines(metrics, done)
    started = time.monotonic()
    student.train()
    lanes = ThreadPoolExecutor(LANES, initializer=start_lane)
    for step, examples in batches(done + 1, groups, tokenizer):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * rate_at(step)
        terms = backward(lanes, student, examples, is_of_clips(step))
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimiser.step()
        if step % LOG_EVERY < 2:
            figures = {name: round(term, 4) for name, term in terms.items()}
            line = {"step": step, "seconds": round(time.monotonic() - started), **figures}
            log_line(metrics, line)
            print(line, flush=True)
        if step % SAVE_EVERY == 0 or step == sum(CYCLES):
            save_state(state, parameters, optimiser, {"step": step})


def centre(model: RewardModel, tokenizer: Path, groups: int) -> None:
    """Shift mu of each axis so that 0 lies midway between what is free of defects and what is not.

    Pairs leave it free. Medians, over fresh examples.
    """
    start_rendering(tokenizer)
    found, severities = [], []
    for step in range(sum(CYCLES) + 1, sum(CYCLES) + 1 + CENTRED):
        examples = make_batch(step, groups)
        found.append(forward(model, [e.prepared for e in examples], torch.device("cpu")).mu)
        severities += [e.severity for e in examples]
    mu, severity = torch.cat(found), torch.tensor(severities)
    free, spoilt = (mu.masked_fill(~of, float("nan")) for of in (severity == 0, severity > 0))
    biases = dict(model.multi_axis_head.named_parameters())["proj.5.bias"]
    with torch.no_grad():
        biases[0::2] -= (free.nanmedian(0).values + spoilt.nanmedian(0).values) / 2


def save(model: RewardModel, config: dict[str, object], folder: Path) -> None:
    """Write config.json and model.safetensors, in bfloat16."""
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--groups", type=int, default=12, help="groups of 4 pictures in a batch")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    config = model_config(folder, build_tokenizer(folder))
    student = Student(fresh_model(config, 0))
    print(f"{sum(p.numel() for p in student.model.parameters()):,} parameters", flush=True)
    train(student, folder / "tokenizer.json", arguments.groups, folder)
    student.eval()
    centre(student.model, folder / "tokenizer.json", arguments.groups)
    save(student.model, config, folder)


if __name__ == "__main__":
    main()
