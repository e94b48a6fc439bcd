"""The seam between a model family and everything else: a prompt and pixels in, scores out.

A family knows one checkpoint layout. It opens a folder as a `Checkpoint`, which makes a `Processor`
(pixels and a prompt to tensors, in worker threads) and loads a `Model` (batches to raw scores).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from librehps.types import Kind

MAX_PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class Prepared:
    """One item as a model reads it.

    pixels (frames, 3, H, W) uint8, already resized; ids (length,) token ids; positions (3, length);
    vision (V,) indices of the vision tokens in `ids`. The last id is the reward token.
    """

    pixels: Tensor
    ids: Tensor
    positions: Tensor
    vision: Tensor

    @property
    def cost(self) -> int:
        """Length of the token stream: what batches are cut by."""
        return len(self.ids)


class RawScore(NamedTuple):
    """Model output of one item: mu and sigma per axis of the checkpoint; `scalar` if it has one."""

    mu: tuple[float, ...]
    sigma: tuple[float, ...]
    scalar: float | None = None


@dataclass(frozen=True)
class ProcessorOptions:
    """How media are prepared; `pixel_budget` in pixels (None: the checkpoint's, 0: none)."""

    max_prompt_tokens: int = MAX_PROMPT_TOKENS
    pixel_budget: int | None = None


class Processor(Protocol):
    """Pixels and a prompt to a `Prepared`; called from several threads at once."""

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
        """Return the same processor with another budget, in pixels a frame; 0 for none."""


class Model(Protocol):
    """Loaded weights on a device."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes that it scores, in the order of `RawScore`."""

    @property
    def device(self) -> torch.device:
        """Device that the weights are on."""

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the backbone."""

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], list[RawScore]]:
        """Start a batch; the returned call waits for its scores, one for each item."""


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to score; `reasons` says why it runs as it does, by name of choice."""

    model: Model
    attention: str
    kernel: str
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class LoadOptions:
    """How a model should run: what the user asked for, where None and "auto" leave the choice."""

    attn_impl: str = "auto"
    dtype: str | torch.dtype | None = None
    device: str | torch.device | None = None


@dataclass(frozen=True)
class Choice:
    """How a model would run, known without its weights; `attention` is tried first."""

    device: torch.device
    dtype: torch.dtype
    attention: str
    kernel: str


class Checkpoint(Protocol):
    """An opened checkpoint folder: everything but the weights is read."""

    @property
    def folder(self) -> Path:
        """Folder that was opened."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes that it scores, `overall` first."""

    @property
    def has_scalar(self) -> bool:
        """Whether it has an unbounded rating head beside the axes."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of media that it scores."""

    @property
    def pixel_budget(self) -> int:
        """Pixels that a picture or frame is resized to, about."""

    @property
    def num_frames(self) -> int:
        """Frames that are sampled of a clip."""

    @property
    def layout(self) -> str:
        """12 hex digits over what scores depend on except the weights."""

    def fingerprint(self) -> str:
        """Return 12 hex digits that name the weights, in whatever dtype they are stored."""

    def processor(self, options: ProcessorOptions) -> Processor:
        """Return the processor; raises CheckpointError for an unusable tokenizer."""

    def choose(self, options: LoadOptions) -> Choice:
        """Return what `load` would choose here; raises UsageError or AttentionError."""

    def load(self, options: LoadOptions) -> Loaded:
        """Return the loaded model; raises ModelError."""


class Family(Protocol):
    """One checkpoint layout."""

    name: str

    def matches(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Whether the folder's config.json describes this layout."""

    def open(self, folder: Path, base: Path | None = None) -> Checkpoint:
        """Return the opened folder; raises CheckpointError, naming file and cause.

        `base` is the folder of config.json and tokenizer.json where they are published apart.
        """
