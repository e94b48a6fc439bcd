"""Public data types: items to score, scores, comparisons of two items, and output rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from librehps.choices import Animated as Animated
from librehps.choices import Kind as Kind
from librehps.choices import Sample as Sample
from librehps.choices import Status, Winner
from librehps.errors import ItemError, UsageError
from librehps.files import path_text, printable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    ImageSource = str | Path | bytes | Image | Tensor | NDArray[Any]
    VideoSource = str | Path | list[ImageSource] | Tensor | NDArray[Any]

# Axes of the published checkpoint; another checkpoint has its own `axes`.
AXES = ("overall", "alignment", "coherence", "style", "temporal")
# A verdict is confident above this win probability and, uncalibrated, with both sigmas below this.
# One name a line: the docs builder reads no assignment to several names.
DEFAULT_PROBABILITY_CUTOFF = 0.55
DEFAULT_SIGMA_CEILING = 3.0
DEFAULT_TEMPERATURE = 1.0
# The largest batch of the package librehps 1.1.2; larger ones are split here as memory needs it.
MAX_BATCH_SIZE = 64


class Stored(ABC):
    """A reference to encoded media that are not a local file: a tar member, a cell, a URL.

    Small, so that a run can hold a million of them.
    """

    @property
    def place(self) -> str:
        """The path or URL of the file that holds the bytes; empty if there is none."""
        return ""

    @abstractmethod
    def read(self) -> bytes:
        """Return the encoded bytes, never empty; raises MediaError."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The file name, whose suffix tells image or video; empty if there is no name."""

    def record(self) -> dict[str, Any]:
        """Return the fields and the class name as JSON values; `stored_from` reads them back."""
        fields = self.__dataclass_fields__  # type: ignore[attr-defined]
        return {"in": type(self).__name__, **{name: getattr(self, name) for name in fields}}


@dataclass(frozen=True)
class Item:
    """An image or video to score, with its prompt.

    `media` is a path, a `Stored`, or anything that `score_image` or `score_video` takes. `kind`
    None: detected from the name or the first bytes. `group` names the items that compete in best
    of N; `extra` is copied to the output row; `problem` is an error that the source found, which
    makes the item an error row.
    """

    id: str
    media: Any
    prompt: str | None
    kind: Kind | None = None
    group: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    problem: ItemError | None = None

    def __init__(
        self,
        id: str,
        media: Any,
        prompt: str | None,
        kind: Kind | None = None,
        group: str | None = None,
        extra: Mapping[str, Any] | None = None,
        problem: ItemError | None = None,
    ) -> None:
        # The generated method takes three times as long; a run makes each item twice.
        fields = self.__dict__
        fields["id"], fields["media"], fields["prompt"] = id, media, prompt
        fields["kind"], fields["group"] = kind, group
        fields["extra"] = {} if extra is None else extra
        fields["problem"] = problem

    def with_prompt(self, prompt: str) -> "Item":
        """Return the same item with another prompt."""
        return Item(self.id, self.media, prompt, self.kind, self.group, self.extra, self.problem)


@dataclass(frozen=True)
class BatchItem:
    """An image and its prompt, for `score_images_batch`."""

    image: Any
    prompt: str


def as_item(
    at: int, item: "Item | BatchItem | ImageSource", prompt: str | None, kind: Kind | None = None
) -> Item:
    """Return what a caller passed as an item: its id is its path, else its index `at`.

    Raises UsageError for media without a prompt.
    """
    if isinstance(item, Item):
        return replace(item, kind=kind or item.kind)
    if isinstance(item, BatchItem):
        return Item(str(at), item.image, item.prompt, kind)
    name = str(item) if isinstance(item, str | PurePath) else str(at)
    if prompt is None:
        raise UsageError(
            f"no prompt for {name}",
            hint='Pass prompt="...", or items with prompts: Item(id, media, prompt).',
        )
    return Item(name, item, prompt, kind)


@dataclass(frozen=True)
class ScoreAxis:
    """A score on one axis: `mean` = sigmoid(raw_mean); `raw_mean` is unbounded, `sigma` above 0."""

    mean: float
    sigma: float
    raw_mean: float

    def __init__(self, mean: float, sigma: float, raw_mean: float) -> None:
        # The generated method takes twice as long.
        fields = self.__dict__
        fields["mean"], fields["sigma"], fields["raw_mean"] = mean, sigma, raw_mean

    @property
    def mu(self) -> float:
        """The same value as `raw_mean`, stored in the score table's column `<axis>_mu`."""
        return self.raw_mean

    @property
    def raw_mean_or_mean(self) -> float:
        """The same value as `raw_mean`, under a name of the package librehps 1.1.2."""
        return self.raw_mean


class AxisColumns(Mapping[str, ScoreAxis]):
    """The axes of a score as tuples of numbers; makes a `ScoreAxis` when it is asked for.

    A run into a file asks for none.
    """

    __slots__ = ("means", "mus", "names", "sigmas")

    def __init__(
        self,
        names: tuple[str, ...],
        means: Sequence[float],
        sigmas: Sequence[float],
        mus: Sequence[float],
    ) -> None:
        self.names, self.means, self.sigmas, self.mus = names, means, sigmas, mus

    @classmethod
    def of(cls, axes: Mapping[str, ScoreAxis]) -> "AxisColumns":
        """Return the axes in this form."""
        if isinstance(axes, cls):
            return axes
        values = [(axis.mean, axis.sigma, axis.raw_mean) for axis in axes.values()]
        means, sigmas, mus = zip(*values, strict=True) if values else ((), (), ())
        return cls(tuple(axes), means, sigmas, mus)

    def __getitem__(self, name: str) -> ScoreAxis:
        try:
            at = self.names.index(name)
        except ValueError:
            raise KeyError(name) from None
        return ScoreAxis(self.means[at], self.sigmas[at], self.mus[at])

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, eq=False)
class Score(Mapping[str, ScoreAxis]):
    """Scores of one image or video: a mapping of axis names to `ScoreAxis`, `overall` first.

    `scalar` is the output of the unbounded rating head, None for a checkpoint without that head.
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
        """The axis `overall`, which every checkpoint has."""
        return self.axes["overall"]

    @property
    def alignment(self) -> ScoreAxis | None:
        """The axis `alignment`, None for a checkpoint without this axis."""
        return self.axes.get("alignment")

    @property
    def coherence(self) -> ScoreAxis | None:
        """The axis `coherence`, None for a checkpoint without this axis."""
        return self.axes.get("coherence")

    @property
    def style(self) -> ScoreAxis | None:
        """The axis `style`, None for a checkpoint without this axis."""
        return self.axes.get("style")

    @property
    def temporal(self) -> ScoreAxis | None:
        """The axis `temporal`, None for images."""
        return self.axes.get("temporal")

    def to_dict(self) -> dict[str, Any]:
        """Return mean, mu and sigma of each axis, and `scalar`, keyed by score table column."""
        axes = AxisColumns.of(self.axes)
        means = dict(zip(axes.names, axes.means, strict=True))
        mus = {f"{name}_mu": mu for name, mu in zip(axes.names, axes.mus, strict=True)}
        sigmas = {f"{name}_sigma": s for name, s in zip(axes.names, axes.sigmas, strict=True)}
        return {**means, **mus, **sigmas, "scalar": self.scalar}


@dataclass(frozen=True, eq=False)
class ImageScore(Score):
    """Scores of an image."""


@dataclass(frozen=True, eq=False)
class VideoScore(Score):
    """Scores of a video; `frames` are the indices of the sampled frames."""

    frames: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the columns of `Score.to_dict`, and `frames`."""
        return {**super().to_dict(), "frames": list(self.frames)}


def score_columns(score: Score | None, axes: Sequence[str]) -> dict[str, float | None]:
    """Return mean and mu of each axis, keyed by column; None for an axis that the score lacks."""
    known = AxisColumns.of({} if score is None else score.axes)
    means = dict(zip(known.names, known.means, strict=True))
    mus = dict(zip(known.names, known.mus, strict=True))
    return {name: means.get(name) for name in axes} | {f"{n}_mu": mus.get(n) for n in axes}


@dataclass(frozen=True)
class PairComparison:
    """A comparison of two items: `winner` is a, b or tie; `probability` is P(a wins) in [0, 1].

    `a` and `b` are their scores. The verdict was made with the limits `probability_cutoff` and
    `sigma_ceiling`, and with `temperature`, or with the fit sigmoid(calibrator_a * (mu of a - mu of
    b) + calibrator_b); without a calibrator both are None.
    """

    winner: Winner
    probability: float
    confident: bool
    a: Score
    b: Score
    probability_cutoff: float = DEFAULT_PROBABILITY_CUTOFF
    sigma_ceiling: float = DEFAULT_SIGMA_CEILING
    temperature: float = DEFAULT_TEMPERATURE
    calibrator_a: float | None = None
    calibrator_b: float | None = None

    @property
    def score_a(self) -> Score:
        """The same score as `a`."""
        return self.a

    @property
    def score_b(self) -> Score:
        """The same score as `b`."""
        return self.b

    def to_dict(self) -> dict[str, Any]:
        """Return winner, probability, confident, and both scores in the form of `Score.to_dict`."""
        verdict = {"winner": self.winner, "probability": self.probability}
        scores = {"score_a": self.a.to_dict(), "score_b": self.b.to_dict()}
        return {**verdict, "confident": self.confident, **scores}


@dataclass(frozen=True)
class ScoredRow:
    """An output row: the item with its score, or with the error that prevented the score.

    `remarks` name what was special in the media, as `transparent` or `animated`. `key` stands
    for content and prompt in this process: duplicates are found by it, if the engine knows it.
    `phash` is the perceptual hash of the media, if the run asked for it.
    """

    item: Item
    kind: Kind | None
    score: Score | None
    width: int | None = None
    height: int | None = None
    prompt_tokens: int | None = None
    sha256: str | None = None
    error: ItemError | None = None
    remarks: frozenset[str] = frozenset()
    key: bytes | None = field(default=None, repr=False, compare=False)
    phash: str | None = None

    def __init__(
        self,
        item: Item,
        kind: Kind | None,
        score: Score | None,
        width: int | None = None,
        height: int | None = None,
        prompt_tokens: int | None = None,
        sha256: str | None = None,
        error: ItemError | None = None,
        remarks: frozenset[str] = frozenset(),
        key: bytes | None = None,
        phash: str | None = None,
    ) -> None:
        # The generated method takes three times as long.
        fields = self.__dict__
        fields["item"], fields["kind"], fields["score"] = item, kind, score
        fields["width"], fields["height"] = width, height
        fields["prompt_tokens"], fields["sha256"] = prompt_tokens, sha256
        fields["error"], fields["remarks"] = error, remarks
        fields["key"], fields["phash"] = key, phash

    @property
    def status(self) -> Status:
        return "ok" if self.score is not None else "error"

    def to_dict(self) -> dict[str, Any]:
        """Return the row keyed by score table column; the user's own columns are last."""
        scores = {} if self.score is None else self.score.to_dict()
        return {**self.facts(), **scores, **self.item.extra}

    def facts(self) -> dict[str, Any]:
        """Return the row keyed by score table column, without scores and own columns."""
        item, error = self.item, self.error
        return {
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


def media_text(media: Any) -> str | None:
    """Return the path or URL of an item's media as UTF-8 text; None for media in memory."""
    if isinstance(media, str):
        return path_text(media)
    return path_text(str(media)) if isinstance(media, (PurePath, Stored)) else None
