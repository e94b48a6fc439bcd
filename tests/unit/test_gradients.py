"""Differentiable rewards: the scores behind them, their gradients, and what is refused."""

import copy
import pickle
import random
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conftest import EXAMPLES, MEDIA
from librehps import AXES, LibreHPS
from librehps.errors import EmptyPromptError, UsageError
from librehps.gradients import pixels as pixels_of
from librehps.media.videos import VideoReader
from librehps.models import scale
from librehps.rewards import DifferentiableReward, RewardClient

sys.path.insert(0, str(EXAMPLES / "tiny"))
import drawing
import scenes

PROMPT = "a red circle left of a blue square"
# What resizing on a device as floats may change in mu of the golden media (at most 0.0535 on all of
# them and the four axes, median 0.0041), and what a batch may change in any mu.
RESIZED, BATCHED = 0.055, 2e-3


def scene(seed: int, side: int = 128) -> Tensor:
    """Return a rendered scene as (3, side, side) floats, levels of a file."""
    rng = random.Random(seed)
    picture = drawing.draw(scenes.compose(scenes.random_caption(rng), rng), side)
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(
        side, side, 3
    ).permute(2, 0, 1).float() / 255  # fmt: skip


def test_forward_is_the_score_of_the_golden_media(golden: LibreHPS, expected: dict) -> None:
    moved = []
    axes = ("overall", "alignment", "coherence", "style")
    rewards = [DifferentiableReward(golden, axis=axis) for axis in axes]
    for at, case in enumerate(expected["images"][::5]):
        pixels = golden._still_decoder()._load(str(MEDIA / case["image"])).pixels.float() / 255
        value = rewards[at % 4]([pixels], [case["prompt"]]).item()
        moved.append(abs(value - case["scores"][axes[at % 4]]["raw_mean"]))
    assert max(moved) < RESIZED
    assert sorted(moved)[len(moved) // 2] < 0.01


def test_forward_is_the_score_of_the_golden_clips(
    golden: LibreHPS, expected: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "_processor", golden._processor.with_budget(0))
    rewards = [DifferentiableReward(golden, axis=axis) for axis in AXES]
    reader = VideoReader("pyav")
    for at, case in enumerate(expected["videos"][::4]):
        clip = reader.read(MEDIA / case["video"], 10_000)
        chosen = [case["sampled_frame_indices"][used] for used in case["used_of_sampled"]]
        frames = torch.stack([clip.frames[index] for index in chosen]).float() / 255
        value = rewards[at % 5](frames[None], [case["prompt"]]).item()
        assert value == pytest.approx(case["scores"][AXES[at % 5]]["raw_mean"], abs=0.02)


def test_forward_of_pixels_that_need_no_resize_is_the_score(tiny: LibreHPS) -> None:
    pictures, prompts = [scene(seed) for seed in range(4)], [PROMPT] * 4
    reward = DifferentiableReward(tiny)
    stray = torch.stack(pictures) + 1.9e-3 * (torch.rand(4, 3, 128, 128) - 0.5)
    for given in (torch.stack(pictures), pictures, stray):
        values = reward(given, prompts)
        exact = [tiny.score_image(one, PROMPT).overall.raw_mean for one in pictures]
        assert values.tolist() == pytest.approx(exact, abs=BATCHED)


def test_a_clip_is_scored_by_its_sampled_frames(tiny: LibreHPS) -> None:
    clip = torch.stack([scene(seed) for seed in range(7)]).requires_grad_()
    value = DifferentiableReward(tiny, axis="temporal")(clip[None], [PROMPT])
    exact = tiny.score_video([*clip.detach()], PROMPT).temporal
    assert exact is not None and value.item() == pytest.approx(exact.raw_mean, abs=BATCHED)
    (gradient,) = torch.autograd.grad(value, clip)
    assert gradient.flatten(1).any(1).sum() == tiny.settings.num_frames


def test_mixed_sizes_weights_and_means(tiny: LibreHPS) -> None:
    images = [scene(0), scene(1, 96), scene(2, 200)]
    parts = {axis: DifferentiableReward(tiny, axis=axis)(images, [PROMPT] * 3)
             for axis in ("overall", "alignment")}  # fmt: skip
    weights = {"overall": 1, "alignment": 0.5}
    mixed, gradients = tiny.reward_gradient(images, [PROMPT] * 3, weights=weights, batch_size=2)
    assert torch.allclose(mixed, parts["overall"] + 0.5 * parts["alignment"], atol=BATCHED)
    assert [g.shape for g in gradients] == [one.shape for one in images]
    means = DifferentiableReward(tiny, scale="mean")(images, [PROMPT] * 3)
    assert torch.allclose(means, parts["overall"].sigmoid(), atol=1e-4)


def in_float64(model: LibreHPS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a model compute in float64, and leave pixels between the levels, for this test."""
    model._model.network.double()
    embedding = model._model.embedding
    assert embedding is not None
    read = embedding.read
    monkeypatch.setattr(embedding, "read", lambda ids: read(ids).double())
    # Norms, rotations, the delta rule and the heads compute in `x.float()`.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    for module in (pixels_of, scale):
        monkeypatch.setattr(module, "to_levels", lambda values: values)


@pytest.mark.parametrize("side", [128, 80], ids=["no resize", "resized"])
def test_gradient_is_that_of_finite_differences(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LibreHPS.from_pretrained("tiny", dtype="float32")
    in_float64(model, monkeypatch)
    reward = DifferentiableReward(model, weights={"overall": 1, "style": -0.3})
    image = (0.1 + 0.8 * scene(3, side).double()).requires_grad_()
    (gradient,) = torch.autograd.grad(reward(image[None], [PROMPT])[0], image)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        way = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ends = [reward((image + step * way)[None], [PROMPT]).item() for step in (1e-5, -1e-5)]
        assert (gradient * way).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_float32_gradient_and_checkpointing(tiny: LibreHPS) -> None:
    images = torch.stack([scene(seed, 64) for seed in range(2)])
    # As in a server: a score before, in inference mode, must leave nothing that breaks the graph.
    tiny.score_image(images[0], PROMPT)
    rewards, plain = tiny.reward_gradient(images, [PROMPT] * 2)
    with torch.inference_mode():
        again, kept = tiny.reward_gradient(images, [PROMPT] * 2, checkpointing=True)
    assert torch.equal(rewards, again)
    assert torch.allclose(plain, kept, atol=1e-5)
    better = images + 0.3 * plain / plain.flatten(1).norm(dim=1)[:, None, None, None]
    better = better.clamp(0, 1)
    assert (DifferentiableReward(tiny)(better, [PROMPT] * 2) > rewards).all()


def test_nothing_of_the_model_is_trained(tiny: LibreHPS) -> None:
    reward = DifferentiableReward(tiny)
    image = scene(0).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = reward.train()([image], [PROMPT])
    assert value.item() == pytest.approx(tiny.score_image(image, PROMPT).overall.raw_mean, abs=2e-3)
    value.sum().backward()
    assert image.grad is not None and image.grad.any()
    assert not [*reward.parameters()] and not reward.state_dict()
    assert torch.equal(copy.deepcopy(reward)([image], [PROMPT]), reward([image], [PROMPT]))
    assert all(p.grad is None and not p.requires_grad for p in tiny._model.network.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gradients_have_the_dtype_of_the_pixels(tiny: LibreHPS, dtype: torch.dtype) -> None:
    rewards, gradients = tiny.reward_gradient(scene(0)[None].to(dtype), [PROMPT])
    assert (rewards.dtype, gradients.dtype) == (torch.float32, dtype)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda x: (x * 255).to(torch.uint8), {}, "uint8 pixels have no gradient"),
        (lambda x: 2 * x - 1, {}, r"expected float pixels in \[0, 1\]"),
        (lambda x: x * float("nan"), {}, r"images\[0\]: expected float pixels"),
        (lambda x: x[0], {}, "expected a tensor .B, 3, H, W"),
        (lambda x: x.permute(0, 2, 3, 1), {}, r"expected a tensor of shape \(3, H, W\)"),
        (lambda x: [MEDIA / "x.png"], {}, "expected a tensor of float pixels"),
        (lambda x: x.numpy(), {}, "expected a tensor or a list"),
        (lambda x: x[:0], {}, "different lengths"),
        (lambda x: x, {"axis": "temporal"}, "images have no temporal"),
        (lambda x: x[:, None], {"axis": "temporal"}, "images have no temporal"),
        (lambda x: x, {"axis": "beauty"}, "unknown axis"),
        (lambda x: x, {"axis": "style", "weights": {"style": 1}}, "cannot be combined"),
    ],
)
def test_what_has_no_gradient_is_refused(
    tiny: LibreHPS, change: Callable[[Tensor], object], options: dict, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tiny.reward_gradient(change(scene(0)[None]), [PROMPT], **options)  # type: ignore[arg-type]


def test_a_reward_is_copied_but_not_pickled(tiny: LibreHPS) -> None:
    reward = DifferentiableReward(tiny)
    assert copy.deepcopy(reward)(scene(0)[None], [PROMPT]) == reward(scene(0)[None], [PROMPT])
    with pytest.raises(UsageError, match="cannot be pickled"):
        pickle.dumps(reward)


def test_invalid_prompts_and_models_are_refused(
    tiny: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = scene(0)[None]
    with pytest.raises(EmptyPromptError):
        tiny.reward_gradient(image, [" "])
    with pytest.raises(UsageError, match="one string"):
        tiny.reward_gradient(image, PROMPT)
    for size in (0, -1):
        with pytest.raises(UsageError, match="batch_size: expected 1 or more"):
            tiny.reward_gradient(image, [PROMPT], batch_size=size)
    with pytest.raises(UsageError, match="expected a loaded model, got RewardClient"):
        DifferentiableReward(RewardClient("http://127.0.0.1:1"))  # type: ignore[arg-type]
    changes = [("weights", "int8"), ("delta_rule", "torch-compiled")]
    for name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(tiny, "settings", replace(tiny.settings, **{name: value}))
            with pytest.raises(UsageError, match="no gradient"):
                DifferentiableReward(tiny)
