"""Train LibreHPS-Tiny on rendered scenes, and fit its calibration on held-out pairs.

    python examples/tiny/train.py --out runs/tiny --steps 4000

Groups of scenes share one true caption and differ in defects; every pair of a group teaches each
axis by a Bradley-Terry loss, rows that show what the caption says also learn to predict it, and a
probe that is thrown away afterwards asks each vision token what it shows.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

import scenes
from librehps.media.prompt import CONTROLS, PromptEncoder
from librehps.media.resize import UNIT, resize
from librehps.model.backbone import RewardModel
from librehps.model.checkpoint import Checkpoint, empty_model, fingerprint
from librehps.model.heads import run_heads
from librehps.pipeline.forward import Prepared, collate, grid_of
from librehps.types import AXES, Kind

SIDE, FRAMES, GROUP = 128, 4, 4
# Pictures come at other sizes too, and the resize leaves its marks on edges.
RENDERED_SIDES = (128, 128, 256)
NAME = "LibreHPS-Tiny"
EXTRA_TEXT = ["a photo of", "an image with", "the scene", "and", "on", "in", "with"]
# Of the terms of the loss.
WEIGHTS = {"pairs": 1.0, "caption": 0.5, "rating": 0.1, "cells": 1.0}
PEAK_RATE = 1.5e-3
HELD_OUT_SEED, CALIBRATION_SEED = 777_777_777, 888_888_888


@dataclass(frozen=True)
class Example:
    """A rendered scene; severities over AXES (overall included), NaN where there is no axis."""

    prepared: Prepared
    prompt_ids: list[int]
    severity: list[float]
    true_caption: bool
    cells: list[tuple[int, int]]


def build_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer learnt from captions; gives the vocabulary's size."""
    rng = random.Random(0)
    captions = [scenes.random_scene(rng).caption for _ in range(20_000)] + EXTRA_TEXT
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*captions, "user\nassistant\n"], trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", *CONTROLS])
    tokenizer.save(str(folder / "tokenizer.json"))
    size: int = tokenizer.get_vocab_size()
    return size


def model_config(folder: Path, vocabulary: int) -> dict[str, object]:
    """About two million parameters, both kinds of layer."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id
    text = {
        "model_type": "qwen3_5_text",
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 32,
        "linear_value_head_dim": 32,
        "linear_conv_kernel_dim": 4,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "model_type": "qwen3_5",
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 4,
        "out_hidden_size": 128,
        "num_position_embeddings": 64,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "in_channels": 3,
    }
    return {
        "architectures": ["LibreHPSRewardModel"],
        "model_type": "qwen3_5",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
        "text_config": text,
        "vision_config": vision,
        "librehps": {"name": NAME, "pixel_budget": SIDE * SIDE, "num_frames": FRAMES},
    }


def fresh_model(config: dict[str, object], seed: int) -> RewardModel:
    """Random weights: normal with 1 / sqrt(fan in); norms and gates as the architecture says."""
    torch.manual_seed(seed)
    model = empty_model(config, "sdpa").to_empty(device="cpu").float()
    for module in model.modules():
        model.model._init_weights(module)
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            fan_in = parameter[0].numel()
            # Positions start as loud as patches: left and right are learnt from nothing else.
            std = {"embed_tokens": 0.02, "pos_embed": 0.5}.get(name.split(".")[-2], fan_in**-0.5)
            torch.nn.init.normal_(parameter, std=std)
        elif name.endswith("A_log"):
            parameter.data.uniform_(0.01, 4).log_()
        elif name.endswith("dt_bias") or name.endswith(("linear_attn.norm.weight",)):
            parameter.data.fill_(1.0)
    return model


class CellProbe(nn.Module):
    """Tells from each vision token the shape and the colour in its cell; used in training only.

    Without this dense signal the vision tower learns colours, and shapes hardly at all.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.shape = nn.Linear(hidden, 1 + len(scenes.SHAPES))
        self.colour = nn.Linear(hidden, 1 + len(scenes.COLOURS))

    def loss(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy of tokens (N, hidden) against classes (N, 2)."""
        shape = F.cross_entropy(self.shape(tokens), cells[:, 0])
        return shape + F.cross_entropy(self.colour(tokens), cells[:, 1])


def make_group(rng: random.Random, encoder: PromptEncoder, clips: bool) -> list[Example]:
    """GROUP versions of one scene, with defects on one to two axes each, or none."""
    scene = scenes.random_scene(rng)
    prompt_ids = encoder.encode_prompt(scene.caption)
    return [_example(scene, prompt_ids, rng, encoder, clips) for _ in range(GROUP)]


def _example(
    scene: scenes.Scene,
    prompt_ids: list[int],
    rng: random.Random,
    encoder: PromptEncoder,
    clips: bool,
) -> Example:
    defects = scenes.random_defects(rng, clips)
    shown = scenes.shown(scene, defects, rng)
    side = rng.choice(RENDERED_SIDES)
    if clips:
        frames = scenes.render_clip(shown, defects, rng, side, FRAMES)
    else:
        frames = [scenes.render(shown, defects, rng, side)]
    pixels = torch.from_numpy(np.stack([np.array(f) for f in frames])).permute(0, 3, 1, 2)
    pixels = resize(pixels.contiguous(), SIDE * SIDE)
    kind: Kind = "video" if clips else "image"
    return Example(
        prepared=Prepared(pixels, encoder.stream(kind, grid_of(pixels), prompt_ids)),
        prompt_ids=prompt_ids,
        severity=[
            scenes.badness(defects),
            *(defects.get(axis, 0.0) for axis in scenes.AXES[:3]),
            defects.get("temporal", 0.0) if clips else float("nan"),
        ],
        true_caption="alignment" not in defects,
        cells=scenes.cells(shown, SIDE // UNIT),
    )


def pair_loss(mu: Tensor, severity: Tensor) -> Tensor:
    """Mean Bradley-Terry loss over the pairs and axes of each group where severities differ.

    mu, severity: (groups, GROUP, 5). The target is soft where severities are close.
    """
    i, j = torch.triu_indices(GROUP, GROUP, 1)
    gap = severity[:, j] - severity[:, i]
    told = gap.abs() > 0.02
    target = torch.sigmoid(gap.nan_to_num() * 40)
    loss = F.binary_cross_entropy_with_logits(mu[:, i] - mu[:, j], target, reduction="none")
    return (loss * told).sum() / told.sum().clamp(min=1)


def caption_loss(model: RewardModel, hidden: Tensor, examples: list[Example]) -> Tensor:
    """Cross-entropy of the caption's tokens, given the picture, on rows where it is true."""
    rows, at, targets = [], [], []
    for row, example in enumerate(examples):
        if example.true_caption:
            start = int(example.prepared.stream.vision[-1]) + 2
            rows += [row] * len(example.prompt_ids)
            at += list(range(start - 1, start - 1 + len(example.prompt_ids)))
            targets += example.prompt_ids
    logits = hidden[rows, at] @ model.model.language_model.embed_tokens.weight.T
    return F.cross_entropy(logits, torch.tensor(targets))


def losses(
    model: RewardModel, probe: CellProbe, examples: list[Example], clips: bool
) -> dict[str, Tensor]:
    """Every term of the loss for a batch of whole groups, unweighted."""
    batch = collate([e.prepared for e in examples], torch.device("cpu"))
    vision = model.vision_tokens(batch)
    hidden = model.hidden_states(batch, vision)
    last = hidden[torch.arange(len(examples)), batch.last]
    output = run_heads(model.multi_axis_head, model.scalar_head, last)
    severity = torch.tensor([e.severity for e in examples]).unflatten(0, (-1, GROUP))
    terms = {
        "pairs": pair_loss(output.mu.unflatten(0, (-1, GROUP)), severity),
        "caption": caption_loss(model, hidden, examples),
        # The scalar head rates the same as overall, on a scale of its own.
        "rating": F.mse_loss(output.scalar, 1 - severity[..., 0].flatten()),
    }
    if not clips:
        # In clips the things move from cell to cell.
        cells = torch.tensor([e.cells for e in examples]).flatten(0, 1)
        terms["cells"] = probe.loss(vision, cells)
    return terms


def train(model: RewardModel, encoder: PromptEncoder, steps: int, groups: int, log: Path) -> None:
    """AdamW with warm-up and cosine decay; every fourth step is of clips."""
    probe = CellProbe(model.scalar_head.proj.in_features)
    parameters = [*model.parameters(), *probe.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.02},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, steps, pct_start=0.06)
    rng, started = random.Random(1), time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        clips = step % 4 == 0
        count = groups // 2 if clips else groups
        examples = [e for _ in range(count) for e in make_group(rng, encoder, clips)]
        terms = losses(model, probe, examples, clips)
        optimiser.zero_grad()
        torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 1:
            seconds = round(time.monotonic() - started)
            figures = {name: round(term.item(), 4) for name, term in terms.items()}
            line = {"step": step, "seconds": seconds, **figures}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)


@torch.inference_mode()
def held_out_pairs(
    model: RewardModel, encoder: PromptEncoder, count: int, seed: int, clips: bool
) -> tuple[Tensor, Tensor]:
    """(mu_a - mu_b, severity_b - severity_a), each (count, 5), from scenes of another seed."""
    rng = random.Random(seed)
    deltas: list[Tensor] = []
    gaps: list[Tensor] = []
    model.eval()
    while len(deltas) < count:
        groups = [make_group(rng, encoder, clips) for _ in range(16)]
        examples = [example for group in groups for example in group[:2]]
        mu = model(collate([e.prepared for e in examples], torch.device("cpu"))).mu
        severity = torch.tensor([e.severity for e in examples])
        for first in range(0, len(examples), 2):
            if abs(examples[first].severity[0] - examples[first + 1].severity[0]) > 0.02:
                deltas.append(mu[first] - mu[first + 1])
                gaps.append(severity[first + 1] - severity[first])
    return torch.stack(deltas[:count]), torch.stack(gaps[:count])


def fit_platt(deltas: np.ndarray, a_wins: np.ndarray) -> tuple[float, float]:
    """Slope and offset of P(a wins) = sigmoid(a * delta + b) by maximum likelihood."""
    from scipy.optimize import minimize

    sign = np.where(a_wins, 1.0, -1.0)
    fit = minimize(lambda x: np.logaddexp(0, -sign * (x[0] * deltas + x[1])).mean(), [1.0, 0.0])
    return float(fit.x[0]), float(fit.x[1])


def save(model: RewardModel, config: dict[str, object], folder: Path) -> None:
    """Write config.json and model.safetensors in bfloat16; round the model to what was written."""
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    state = {k: v.to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.load_state_dict({k: v.float() for k, v in state.items()})


def report(model: RewardModel, encoder: PromptEncoder, folder: Path) -> None:
    """Fit calibration.json on one set of held-out pairs, and print accuracies on another."""
    deltas, gaps = held_out_pairs(model, encoder, 2000, CALIBRATION_SEED, clips=False)
    a, b = fit_platt(deltas[:, 0].double().numpy(), (gaps[:, 0] > 0).numpy())
    content = {
        "model": NAME,
        "fingerprint": fingerprint(Checkpoint.open(folder)),
        "per_benchmark": {"shapes": {"a": a, "b": b}},
        "global": {"a": a, "b": b},
    }
    (folder / "calibration.json").write_text(json.dumps(content, indent=1) + "\n")
    for clips in (False, True):
        deltas, gaps = held_out_pairs(model, encoder, 1000, HELD_OUT_SEED, clips)
        result = {}
        for at, axis in enumerate(AXES):
            told = gaps[:, at].abs() > 0.02
            right = (deltas[:, at] > 0) == (gaps[:, at] > 0)
            if told.any():
                result[axis] = f"{right[told].double().mean():.3f} of {int(told.sum())}"
        print("clips" if clips else "images", result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--groups", type=int, default=12, help="groups of 4 scenes in a batch")
    parser.add_argument("--report-only", action="store_true", help="evaluate what --out holds")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    if not arguments.report_only:
        config = model_config(folder, build_tokenizer(folder))
        model, encoder = fresh_model(config, 0), PromptEncoder(folder / "tokenizer.json")
        print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
        train(model, encoder, arguments.steps, arguments.groups, folder / "metrics.jsonl")
        save(model, config, folder)
    else:
        from librehps.model.checkpoint import build_model

        model = build_model(Checkpoint.open(folder), "sdpa", torch.float32, torch.device("cpu"))
        encoder = PromptEncoder(folder / "tokenizer.json")
    report(model, encoder, folder)


if __name__ == "__main__":
    main()
