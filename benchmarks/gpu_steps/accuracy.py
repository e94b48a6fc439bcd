"""Scores on the device beside the golden vectors and beside the CPU in float32."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from pathlib import Path
from unittest import mock

import torch
from PIL import Image

from gpu_steps.base import Failed, Figures, Skipped, Where, check
from librehps import LibreHPS
from librehps.errors import AttentionError, ExtraNeededError, UsageError
from librehps.models.kernels import choice
from librehps.types import BatchItem

ROOT = Path(__file__).parents[2]
GOLDEN, GOLDEN_HPSV3 = ROOT / "tests" / "golden", ROOT / "tests" / "golden_hpsv3"
EXAMPLES = ROOT / "examples" / "media"
# The golden files went to pixels as the reference reads them.
AS_REFERENCE = {"background": "keep", "color_management": False}

MU, BATCH_MU = 5e-3, 2e-3
# LibreHPS-Tiny in bfloat16 moves mu by 0.065 at most over 768 pictures, int8 weights by 0.047.
ROUNDED_MU = 0.13
# The golden checkpoint of HPSv3 in bfloat16.
ROUNDED_HPSV3_MU = 0.5
BATCH = 16
ATTENTIONS = ("sdpa", "eager", "fa2", "fa4")


def golden(
    where: Where,
    dtype: str = "float32",
    attentions: Sequence[str] = ATTENTIONS,
    **how: object,
) -> Figures:
    """Return the largest differences in mu of each attention backend, with Triton and without.

    float32 is held to the golden vectors. Rounded weights are held to float32 on LibreHPS-Tiny: the
    golden checkpoint is random and so steep that bfloat16 moves its mu by several units.
    """
    figures: Figures = {"dtype": dtype, **how, "not_available": {}}
    bounds: dict[str, tuple[float, float]] = {}
    exact = dtype == "float32" and "weights" not in how
    limits = _limits(exact, "compile" in how or torch.device(where.device).type == "cuda")
    for kernel in kernels(where.device):
        for attention in attentions:
            name = f"{attention} {kernel}"
            load = partial(_load, device=where.device, attn_impl=attention, dtype=dtype, **how)
            try:
                with using(kernel):
                    moved = _moved(load, where.every)
            except ExtraNeededError as error:
                raise Skipped(str(error)) from error
            except AttentionError as error:
                figures["not_available"][name] = str(error)
                continue
            if not moved["delta_rule"].startswith(kernel):
                raise Failed(f"{name}: ran on the kernels {moved['delta_rule']}", figures)
            figures[name] = moved
            bounds |= {f"{name} {key}": (moved[key], limit) for key, limit in limits.items()}
    if exact and not how:
        figures["video_beside_cpu"] = _video(where.device)
        bounds["video_beside_cpu"] = (figures["video_beside_cpu"], BATCH_MU)
    if not bounds:
        raise Skipped(f"no attention backend runs in {dtype}: {figures['not_available']}")
    return check(figures, bounds)


def _limits(exact: bool, rounds_otherwise: bool) -> dict[str, float]:
    """Return the limit of each difference in mu.

    Compiled kernels, and those of cuBLAS, round otherwise for a batch of one than for more.
    """
    if not exact:
        return {"tiny": ROUNDED_MU, "golden_hpsv3": ROUNDED_HPSV3_MU}
    batch = MU if rounds_otherwise else BATCH_MU
    return {"golden": MU, "golden_hpsv3": MU, "golden_batch": batch}


def kernels(device: str) -> list[str]:
    """Return the kernels that run here; the first is the one used by default."""
    obstacle = choice.kernel_obstacle(torch.device(device))
    return ["torch"] if obstacle else ["triton", "torch"]


def using(kernel: str) -> AbstractContextManager[object]:
    """Return a context that computes by the kernels of this name, in all threads."""
    if kernel == "triton":
        return nullcontext()
    return mock.patch.object(choice, "_obstacle", lambda device: "they are turned off")


def _load(path: str | Path, **how: object) -> LibreHPS:
    media = {} if path == "tiny" else AS_REFERENCE
    return LibreHPS.from_pretrained(path, **media, **how)


def _moved(load: partial, every: int) -> Figures:
    """Return the largest differences in mu: golden vectors, one batch against one by one, Tiny."""
    expected = json.loads((GOLDEN / "expected.json").read_text())["images"][::every]
    scorer = load(GOLDEN / "checkpoint")
    items = [BatchItem(GOLDEN / "media" / case["image"], case["prompt"]) for case in expected]
    alone, together = scorer.score_images_batch(items, 1), scorer.score_images_batch(items, BATCH)
    want = torch.tensor(
        [[case["scores"][axis]["raw_mean"] for axis in case["scores"]] for case in expected]
    )
    one, many = mus(alone), mus(together)
    hpsv3 = json.loads((GOLDEN_HPSV3 / "expected.json").read_text())["images"][::every]
    items = [BatchItem(GOLDEN_HPSV3 / "media" / case["image"], case["prompt"]) for case in hpsv3]
    figures = {
        "golden": farthest(one, want),
        "golden_batch": farthest(one, many),
        "delta_rule": scorer.settings.delta_rule,
    }
    del scorer
    try:
        rated = load(GOLDEN_HPSV3 / "checkpoint").score_images_batch(items, BATCH)
    except (AttentionError, UsageError) as error:
        figures["hpsv3_not_available"] = str(error)
        figures["golden_hpsv3"] = 0.0
    else:
        want = torch.tensor([[case["mu"]] for case in hpsv3])
        figures["golden_hpsv3"] = farthest(mus(rated), want)
    figures["tiny"] = farthest(_tiny(load("tiny")), _exact_tiny())
    return figures


@cache
def _exact_tiny() -> torch.Tensor:
    return _tiny(_load("tiny", device="cpu", dtype="float32"))


def _tiny(scorer: LibreHPS) -> torch.Tensor:
    """Return mu of the example pictures under their own and under one foreign prompt."""
    files = sorted(EXAMPLES.glob("*.png"))
    prompts = [file.with_suffix(".txt").read_text().strip() for file in files]
    items = [BatchItem(file, prompt) for file, prompt in zip(files, prompts, strict=True)]
    items += [BatchItem(file, "a green star above a yellow cross") for file in files]
    return mus(scorer.score_images_batch(items))


def _video(device: str) -> float:
    """Return the largest difference in mu between the device and the CPU for 5 frames."""
    with Image.open(GOLDEN / "media" / "sq448.png") as picture:
        frames = [picture.convert("RGB").rotate(90 * turn) for turn in range(5)]
    scores = [
        _load(GOLDEN / "checkpoint", device=name, dtype="float32").score_video(frames, "a cat")
        for name in ("cpu", device)
    ]
    return farthest(mus(scores[:1]), mus(scores[1:]))


def mus(scores: list) -> torch.Tensor:
    """Return mu of each score and axis, (scores, axes)."""
    return torch.tensor([[axis.raw_mean for axis in score.values()] for score in scores])


def farthest(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference; NaN if either has one."""
    return float((a - b).abs().max())
