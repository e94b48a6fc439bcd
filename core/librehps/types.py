"""What goes in and what comes out: items, scores, verdicts and rows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from librehps.errors import ItemError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor

    ImageSource = str | Path | bytes | Image | Tensor
    VideoSource = str | Path | list[ImageSource]

AXES = ("overall", "alignment", "coherence", "style", "temporal")

Kind = Literal["image", "video"]


class Stored(ABC):
    """A place to read bytes from, small enough to be listed a million times."""

    @abstractmethod
    def read(self) -> bytes:
        """The content, never empty; raises MediaError."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A name whose suffix tells the kind, where there is one."""

    def record(self) -> dict[str, Any]:
        """Fields as JSON values, and the class; `stored_from` reads it back."""
        return {"in": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Item:
    """One thing to score: a still or a clip, and the prompt it answers.

    `media` is a path, stored media, or what `score_image` / `score_video` take; where `kind` is
    None it is told from the name or the first bytes. `group` names the set that the item competes
    in (best of N); `extra` is carried to the row untouched; `problem` is why it cannot be scored,
    where its source found that out.
    """

    id: str
    media: Any
    prompt: str | None
    kind: Kind | None = None
    group: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    problem: ItemError | None = None


@dataclass(frozen=True)
class BatchItem:
    """An image and its prompt, for `score_images_batch`."""

    image: Any
    prompt: str


@dataclass(frozen=True)
class ScoreAxis:
    """One axis: `mean` in [0, 1] = sigmoid(raw_mean); `raw_mean` unbounded; `sigma` above 0."""

    mean: float
    sigma: float
    raw_mean: float


@dataclass(frozen=True)
class ImageScore:
    """Scores of a still; `scalar` is the unbounded rating head."""

    overall: ScoreAxis
    alignment: ScoreAxis
    coherence: ScoreAxis
    style: ScoreAxis
    scalar: float


@dataclass(frozen=True)
class VideoScore(ImageScore):
    """Scores of a clip; `frames` are the indices of the frames that were scored."""

    temporal: ScoreAxis
    frames: tuple[int, ...]


def score_columns(score: ImageScore | None) -> dict[str, float | None]:
    """Mean and mu of each axis by column, in the order of the output; None where there is none."""
    axes = {name: getattr(score, name, None) for name in AXES}
    means = {name: axis and axis.mean for name, axis in axes.items()}
    return means | {f"{name}_mu": axis and axis.raw_mean for name, axis in axes.items()}


@dataclass(frozen=True)
class PairComparison:
    """Which of two is better. `probability` is P(a wins) in [0, 1]; `winner` is a, b or tie."""

    winner: Literal["a", "b", "tie"]
    probability: float
    confident: bool
    score_a: ImageScore
    score_b: ImageScore


@dataclass(frozen=True)
class ScoredRow:
    """One row of output: a score, or the error that says why there is none."""

    item: Item
    kind: Kind | None
    score: ImageScore | None
    width: int | None = None
    height: int | None = None
    prompt_tokens: int | None = None
    sha256: str | None = None
    error: ItemError | None = None

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.score is not None else "error"
