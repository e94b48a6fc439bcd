"""Options of a training run, and the split of its pairs."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from librehps.choices import Animated, Sample, SigmaLoss, TrainedPart, check_choice
from librehps.errors import TrainingError
from librehps.media.options import MediaOptions
from librehps.preferences.pairs import Pair

# Defaults by trained part: passes over the pairs, peak learning rate of the backbone.
DEFAULT_EPOCHS: dict[TrainedPart, int] = {"heads": 20, "lora": 2, "full": 2}
DEFAULT_RATES: dict[TrainedPart, float] = {"heads": 0.0, "lora": 1e-4, "full": 1e-5}


@dataclass(frozen=True)
class TrainOptions:
    """The options of a training run; `rate` and `head_rate` are peak learning rates.

    `batch_size`: pairs of one process in one backward pass. `sigma`: "plain" trains mu by
    Bradley-Terry and sigma separately, to predict mu's errors; "aware" divides the gap by sigma.
    `save_every` and `eval_every` count optimiser steps; `eval_every` 0 evaluates once an epoch.
    """

    part: TrainedPart = "lora"
    sigma: SigmaLoss = "plain"
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    rate: float | None = None
    head_rate: float = 5e-4
    weight_decay: float = 0.01
    warm_up: float = 0.05
    clip: float = 1.0
    rating_weight: float = 0.1
    lora_rank: int = 16
    gradient_checkpointing: bool = False
    num_frames: int | None = None
    background: str = "white"
    color_management: bool = True
    animated: Animated = "clip"
    sample: Sample = "index"
    held_out_share: float = 0.1
    eval_every: int = 0
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self.part, TrainedPart, "part")
        check_choice(self.sigma, SigmaLoss, "sigma")
        # An invalid value is an error here, before the base model is loaded.
        _ = self.media

    @property
    def media(self) -> MediaOptions:
        """How files become pixels."""
        return MediaOptions(self.background, self.color_management, self.animated, self.sample)

    @property
    def backbone_rate(self) -> float:
        return DEFAULT_RATES[self.part] if self.rate is None else self.rate

    def schedule(self, pairs: int, processes: int) -> tuple[int, int]:
        """Return (total steps, steps per epoch); an epoch drops an incomplete last batch."""
        steps_per_epoch = max(1, pairs // self.global_batch(processes))
        return self.steps or steps_per_epoch * (
            self.epochs or DEFAULT_EPOCHS[self.part]
        ), steps_per_epoch

    def global_batch(self, processes: int) -> int:
        """Return the number of pairs of one optimiser step."""
        return self.batch_size * self.accumulate * processes

    def record(self) -> dict[str, Any]:
        return asdict(self)


def digest_of(pairs: Sequence[Pair]) -> str:
    """Return a digest (12 hex digits) of the training data, which a resumed run must match."""
    text = json.dumps([(p.pair_id, p.prompt, sorted(p.preference.items())) for p in pairs])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def halves(
    pairs: Sequence[Pair], held_out: Sequence[Pair] | None, options: TrainOptions
) -> tuple[list[Pair], list[Pair]]:
    """Return (training pairs, held-out pairs); without `held_out`, splits the pairs by prompt.

    Raises TrainingError if either is empty.
    """
    learned, reported = (
        split(pairs, options.held_out_share) if held_out is None else (list(pairs), list(held_out))
    )
    if not learned or not reported:
        raise TrainingError(
            f"{len(learned)} training pairs and {len(reported)} held-out pairs: both must be > 0",
            hint="The split is by prompt: with few prompts, give held-out pairs with --held-out.",
        )
    return learned, reported


def split(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Return (training pairs, held-out pairs), split by prompt hash: no prompt is in both."""
    kept: list[Pair] = []
    held_out: list[Pair] = []
    for pair in pairs:
        bucket = int.from_bytes(hashlib.sha256(pair.prompt.encode()).digest()[:8], "big")
        (held_out if bucket % 10_000 < share * 10_000 else kept).append(pair)
    return kept, held_out


def rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the peak rate at `step` >= 1: linear warm-up, then cosine decay to 0."""
    warm = max(1.0, warm_up * steps)
    if step < warm:
        return step / warm
    return (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm))) / 2
