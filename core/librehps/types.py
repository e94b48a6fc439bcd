"""What goes in and what comes out: items, scores, verdicts and rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from librehps.choices import Kind as Kind
from librehps.choices import Status, Winner
from librehps.errors import ItemError
from librehps.files import printable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    ImageSource = str | Path | bytes | Image | Tensor | NDArray[Any]
    VideoSource = str | Path | list[ImageSource] | Tensor | NDArray[Any]

# Of the published checkpoint; what a model scores is its checkpoint's own `axes`.
AXES = ("overall", "alignment", "coherence", "style", "temporal")


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

    @property
    def mu(self) -> float:
        """The same as `raw_mean`: what the score table's `<axis>_mu` columns hold."""
        return self.raw_mean


@dataclass(frozen=True, eq=False)
class Score(Mapping[str, ScoreAxis]):
    """Scores of one image or video: a mapping of axis names to `ScoreAxis`, `overall` first.

    `scalar` is the unbounded rating head, None where the checkpoint has none.
    """

    axes: Mapping[str, ScoreAxis]
    scalar: float | None = None

    def __getitem__(self, name: str) -> ScoreAxis:
        return self.axes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.axes)

    def __len__(self) -> int:
        return len(self.axes)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((tuple(self.axes.items()), self.scalar))

    @property
    def overall(self) -> ScoreAxis:
        """The axis that every checkpoint has."""
        return self.axes["overall"]

    @property
    def alignment(self) -> ScoreAxis | None:
        """The axis `alignment`, None where the checkpoint has none."""
        return self.axes.get("alignment")

    @property
    def coherence(self) -> ScoreAxis | None:
        """The axis `coherence`, None where the checkpoint has none."""
        return self.axes.get("coherence")

    @property
    def style(self) -> ScoreAxis | None:
        """The axis `style`, None where the checkpoint has none."""
        return self.axes.get("style")

    @property
    def temporal(self) -> ScoreAxis | None:
        """The axis `temporal`, None for images."""
        return self.axes.get("temporal")

    def to_dict(self) -> dict[str, Any]:
        """Return mean, mu and sigma of each axis, and `scalar`, by the score table's columns."""
        mus = {f"{name}_mu": axis.raw_mean for name, axis in self.axes.items()}
        sigmas = {f"{name}_sigma": axis.sigma for name, axis in self.axes.items()}
        means = {name: axis.mean for name, axis in self.axes.items()}
        return {**means, **mus, **sigmas, "scalar": self.scalar}


@dataclass(frozen=True, eq=False)
class ImageScore(Score):
    """Scores of an image."""


@dataclass(frozen=True, eq=False)
class VideoScore(Score):
    """Scores of a video; `frames` are the indices of the frames that were scored."""

    frames: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what `Score.to_dict` does, and `frames`."""
        return {**super().to_dict(), "frames": list(self.frames)}


def score_columns(score: Score | None, axes: Sequence[str]) -> dict[str, float | None]:
    """Return mean and mu of each axis by column, None where the score lacks the axis."""
    known: Mapping[str, ScoreAxis] = {} if score is None else score
    means = {name: known[name].mean if name in known else None for name in axes}
    mus = {f"{name}_mu": known[name].raw_mean if name in known else None for name in axes}
    return means | mus


@dataclass(frozen=True)
class PairComparison:
    """Which of two is better. `probability` is P(a wins) in [0, 1]; `winner` is a, b or tie."""

    winner: Winner
    probability: float
    confident: bool
    score_a: Score
    score_b: Score

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict, and both scores as `Score.to_dict` gives them."""
        verdict = {"winner": self.winner, "probability": self.probability}
        scores = {"score_a": self.score_a.to_dict(), "score_b": self.score_b.to_dict()}
        return {**verdict, "confident": self.confident, **scores}


@dataclass(frozen=True)
class ScoredRow:
    """One row of output: a score, or the error that says why there is none."""

    item: Item
    kind: Kind | None
    score: Score | None
    width: int | None = None
    height: int | None = None
    prompt_tokens: int | None = None
    sha256: str | None = None
    error: ItemError | None = None

    @property
    def status(self) -> Status:
        return "ok" if self.score is not None else "error"

    def to_dict(self) -> dict[str, Any]:
        """Return the row by the score table's columns, the user's own columns at the end."""
        item, error = self.item, self.error
        facts = {
            "id": printable(item.id),
            "media": media_text(item.media),
            "kind": self.kind,
            "prompt": None if item.prompt is None else printable(item.prompt),
            "group": None if item.group is None else printable(item.group),
            "width": self.width,
            "height": self.height,
            "prompt_tokens": self.prompt_tokens,
            "sha256": self.sha256,
            "status": self.status,
            "error_type": None if error is None else type(error).__name__,
            "error": None if error is None else printable(str(error)),
        }
        scores = {} if self.score is None else self.score.to_dict()
        return {**facts, **scores, **item.extra}


def media_text(media: Any) -> str | None:
    """Return where an item's media lies, as UTF-8 text; None for media in memory."""
    return printable(str(media)) if isinstance(media, str | PurePath | Stored) else None
