"""The protocols of a model family: a prompt and pixels in, scores out.

A `Family` knows one checkpoint layout and opens a folder as a `Checkpoint`. The checkpoint makes a
`Processor` (pixels and a prompt to tensors, in worker threads) and loads a `Model` (batches of
prepared items to raw scores).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from librehps.errors import ItemError
from librehps.models.memory_need import Footprint
from librehps.types import Kind

MAX_PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class Prepared:
    """The model input of one item.

    pixels (frames, 3, H, W), already resized: uint8, or for `Differentiable.mu` the same levels as
    floats; ids (length,) token ids; positions (3, length); vision (V,) indices of the vision tokens
    in `ids`. The last id is the reward token.
    shares_pixels: other items of the batch hold the same tensor, and a family may compute its
    vision tokens once for all of them; a family that does not gives the same scores.
    """

    pixels: Tensor
    ids: Tensor
    positions: Tensor
    vision: Tensor
    shares_pixels: bool = False

    @property
    def cost(self) -> int:
        """Number of tokens, by which items are sorted into batches."""
        return self.ids.numel()


class RawScore(NamedTuple):
    """Model output of one item: mu and sigma per axis; `scalar` if the checkpoint has that head."""

    mu: tuple[float, ...]
    sigma: tuple[float, ...]
    scalar: float | None = None


@dataclass(frozen=True)
class ProcessorOptions:
    """Options of a processor; `pixel_budget` in pixels (None: the checkpoint's, 0: no resize)."""

    max_prompt_tokens: int = MAX_PROMPT_TOKENS
    pixel_budget: int | None = None


class Processor(Protocol):
    """A converter of pixels and a prompt to a `Prepared`; thread-safe."""

    def encode(self, prompt: str | None) -> list[int]:
        """Return the token ids of the prompt as plain text; raises PromptError."""

    def prepare(
        self, pixels: Tensor, kind: Kind, prompt_ids: list[int], *, as_floats: bool = False
    ) -> Prepared:
        """Return the prepared item of (frames, 3, H, W) uint8 pixels of any size.

        `as_floats` resizes on the pixels' own device, close to the exact resize on the CPU.
        Raises AspectRatioError.
        """

    def with_budget(self, pixel_budget: int) -> "Processor":
        """Return the same processor with another budget, in pixels per frame; 0 for none."""


class Model(Protocol):
    """Loaded weights on a device, which score batches."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the scored axes, in the order of `RawScore`."""

    @property
    def device(self) -> torch.device:
        """Device that the weights are on."""

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the backbone."""

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], Sequence[RawScore | ItemError]]:
        """Start a batch, and return a function that waits for the result of each item."""


@runtime_checkable
class Differentiable(Model, Protocol):
    """A `Model` that also computes mu with a graph, see `mu`.

    recomputes: whether its layers can recompute their activations in the backward pass.
    """

    recomputes: bool

    def mu(self, batch: Sequence[Prepared], recompute: bool = False) -> Tensor:
        """Return mu of the items, (batch, axes) float32, with the graph to their float pixels."""


@dataclass(frozen=True)
class Loaded:
    """A loaded model, and the choices made for it.

    `weights` is full, int8 or nf4. `reasons` explains the choice of device, dtype, weights,
    attention and kernel, by the name of the choice.
    """

    model: Model
    attention: str
    kernel: str
    weights: str
    reasons: Mapping[str, str]

    @property
    def choice(self) -> "Choice":
        """How the model runs."""
        model = self.model
        return Choice(model.device, model.dtype, self.attention, self.kernel, self.weights)


@dataclass(frozen=True)
class LoadOptions:
    """The user's options for loading a model; None and "auto" leave the choice to the family.

    `copies` is the number of processes that load the model on this device, whose memory must fit.
    """

    attn_impl: str = "auto"
    dtype: str | torch.dtype | None = None
    device: str | torch.device | None = None
    weights: str | None = None
    copies: int = 1
    compile: bool = False


@dataclass(frozen=True)
class Choice:
    """The device, dtype, attention, kernel and weights that loading would choose, before it reads.

    `attention` is the first candidate.
    """

    device: torch.device
    dtype: torch.dtype
    attention: str
    kernel: str
    weights: str


class Checkpoint(Protocol):
    """An opened checkpoint folder, of which everything except the weights is read."""

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the scored axes, `overall` first."""

    @property
    def has_scalar(self) -> bool:
        """True if the checkpoint has an unbounded rating head in addition to the axes."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of media that the model scores."""

    @property
    def pixel_budget(self) -> int:
        """Approximate number of pixels that an image or frame is resized to."""

    @property
    def num_frames(self) -> int:
        """Number of frames that are sampled from a video."""

    @property
    def layout(self) -> str:
        """12 hex digits, a hash of everything that scores depend on except the weights."""

    def fingerprint(self) -> str:
        """Return 12 hex digits that identify the weights, independent of the stored dtype."""

    def processor(self, options: ProcessorOptions) -> Processor:
        """Return the processor; raises CheckpointError for an unusable tokenizer."""

    def choose(self, options: LoadOptions) -> Choice:
        """Return what `load` would choose here; raises UsageError or AttentionError."""

    def load(self, options: LoadOptions) -> Loaded:
        """Return the loaded model; raises ModelError."""


class Family(Protocol):
    """A model family: one checkpoint layout, and the code that loads and runs it."""

    name: str

    def matches(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Return whether the folder's config.json describes this layout."""

    def open(self, folder: Path, base: Path | None = None) -> Checkpoint:
        """Return the opened checkpoint; raises CheckpointError, naming file and cause.

        `base` is the folder of config.json and tokenizer.json, if published separately.
        """

    def footprint(self, file: Path, config: Mapping[str, Any]) -> Footprint:
        """Return the sizes that determine the memory of the config.json `file`.

        Raises CheckpointError if the model is not supported.
        """
