"""A reward as a torch module, whose output keeps the graph to the pixels."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from librehps.choices import RewardScale
from librehps.decide.reward_spec import RewardSpec, read_reward_options
from librehps.engine.outcome import VIDEO_AXES
from librehps.errors import UsageError
from librehps.gradients.pixels import check_range, levels_of, samples_of
from librehps.gradients.source import GradientSource
from librehps.models.base import Prepared
from librehps.types import Kind


class DifferentiableReward(nn.Module):
    """A reward that keeps the graph from float pixels to mu, for ReFL, DRaFT and the like.

    `forward` gives the reward of `ddpo_reward` with resize="device"; the pixels' gradient is that
    of the reward without the rounding of pixels to 256 levels. axis, weights, scale: see
    `RewardOptions`. checkpointing: the backward pass computes activations again instead of keeping
    them. The module has no parameters: the model's are frozen, stay on the model's device and in
    its dtype, and are in no optimizer and no state_dict. Raises UsageError for a model that cannot
    keep the graph: quantised, compiled, on several devices, or on a server.
    """

    def __init__(
        self,
        model: GradientSource,
        *,
        axis: str | None = None,
        weights: Mapping[str, float] | None = None,
        scale: RewardScale = "mu",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.spec, _ = read_reward_options({"axis": axis, "weights": weights, "scale": scale})
        # Held by a module that is none, so that its parameters are none of this module's.
        self._source = _Source(model)
        self.spec.check_axes(model.axes)
        self.checkpointing = checkpointing
        if checkpointing and not self._source.network.recomputes:
            raise UsageError(
                "checkpointing: unsupported for this model family",
                hint="Leave out checkpointing, and give fewer images at a time.",
            )

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise UsageError(
            "DifferentiableReward: cannot be pickled, since a loaded model cannot",
            hint="Make one in each process, from a model that is loaded there.",
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "DifferentiableReward":
        # The default way is that of pickle.
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def forward(self, images: "Tensor | Sequence[Tensor]", prompts: Sequence[str]) -> Tensor:
        """Return the rewards (B,), float32 on the images' device, with their graph.

        images: floats in [0, 1], a tensor (B, 3, H, W) or (B, frames, 3, H, W), or a list of
        tensors of any sizes; of a clip, the frames that `score_video` samples have a gradient.
        Pixels may exceed [0, 1] by 1/255. Raises UsageError and PromptError.
        """
        samples = samples_of(images)
        if isinstance(prompts, str) or len(samples) != len(prompts):
            count = "one string" if isinstance(prompts, str) else f"{len(prompts)} prompts"
            raise UsageError(f"different lengths: {len(samples)} images, {count}")
        if not samples:
            raise UsageError("no images")
        check_range(samples)
        source = self._source
        kinds = [source.kind_of(at, pixels) for at, pixels in enumerate(samples)]
        _check_axes(self.spec, kinds)
        device = source.network.device
        # A trainer's autocast would change the scores.
        with torch.autocast(device.type, enabled=False):
            batch = [source.prepared(*one) for one in zip(samples, kinds, prompts, strict=True)]
            mu = source.network.mu(batch, self.checkpointing)
            values = mu.sigmoid() if self.spec.scale == "mean" else mu
            factors = [self.spec.weights.get(axis, 0.0) for axis in source.axes]
            rewards = values @ values.new_tensor(factors)
        return rewards.to(samples[0].device)


class _Source:
    """The network and the processor of a model that keeps the graph; raises UsageError."""

    def __init__(self, model: GradientSource) -> None:
        if not isinstance(model, GradientSource):
            raise UsageError(
                f"expected a loaded model, got {type(model).__name__}, which gives no gradient",
                hint="Load it in this process with LibreHPS.from_pretrained.",
            )
        self.network = model.differentiable()
        self.axes, self._processor = model.axes, model._processor
        self._kinds, self._frames = model._checkpoint.kinds, model.settings.num_frames

    def __deepcopy__(self, memo: Any) -> "_Source":
        # A copy of a trainer's module shares the model, which nothing changes.
        return self

    def kind_of(self, at: int, pixels: Tensor) -> Kind:
        """Return the kind of a sample: a single frame is an image. Raises UsageError."""
        kind: Kind = "video" if pixels.ndim == 4 and len(pixels) > 1 else "image"
        if kind not in self._kinds:
            kinds = " and ".join(self._kinds)
            raise UsageError(f"images[{at}]: the model scores {kinds}s only, got a {kind}")
        return kind

    def prepared(self, pixels: Tensor, kind: Kind, prompt: Any) -> Prepared:
        """Return the model's input; raises AspectRatioError and PromptError."""
        levels = levels_of(pixels, self._frames, self.network.device)
        ids = self._processor.encode(prompt)
        return self._processor.prepare(levels, kind, ids, as_floats=True)


def _check_axes(spec: RewardSpec, kinds: Sequence[Kind]) -> None:
    """Raise UsageError for an axis of videos as the reward of an image."""
    named = [axis for axis in VIDEO_AXES if axis in spec.weights]
    if named and "image" in kinds:
        raise UsageError(
            f"images[{kinds.index('image')}]: images have no {named[0]} (expected clips)",
            hint="Give clips (B, frames, 3, H, W), or another axis.",
        )


def reward_and_gradient(
    reward: DifferentiableReward,
    images: "Tensor | Sequence[Tensor]",
    prompts: Sequence[str],
    batch_size: int,
) -> "tuple[Tensor, Tensor | list[Tensor]]":
    """Return rewards (B,) and the gradient of each image's reward, shaped like the images.

    Computed for `batch_size` images at a time, also where gradients are disabled.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size: expected 1 or more, got {batch_size}")
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [pixels.detach().clone().requires_grad_() for pixels in samples_of(images)]
        if len(leaves) != len(prompts) or not leaves or isinstance(prompts, str):
            reward(leaves, prompts)  # raises
        check_range(leaves)
        rewards: list[Tensor] = []
        gradients: list[Tensor] = []
        for start in range(0, len(leaves), batch_size):
            part = slice(start, start + batch_size)
            values = reward(leaves[part], prompts[part])
            gradients += torch.autograd.grad(values.sum(), leaves[part])
            rewards.append(values.detach())
    found = torch.cat(rewards)
    return found, torch.stack(gradients) if isinstance(images, Tensor) else gradients
