"""The explanation of one item: what is explained, on which axes, and the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from librehps.choices import ExplainBy, check_choice
from librehps.engine.engine import LocalEngine
from librehps.engine.outcome import VIDEO_AXES
from librehps.errors import UnsupportedMediaError, UsageError
from librehps.explain.frames import FrameEffects, explain_frames
from librehps.explain.regions import RegionMap, explain_regions
from librehps.explain.subject import Subject, subject_of
from librehps.explain.words import WordEffects, explain_words
from librehps.files import printable
from librehps.types import Item, Kind, media_text

NOTE = "explains the model's score, not the picture: the model itself may be wrong"
# Axes that are explained unless the caller names one: the first that the model has.
AXES: dict[ExplainBy, tuple[str, ...]] = {
    "words": ("alignment", "overall"),
    "regions": ("coherence", "overall"),
    "frames": ("temporal", "overall"),
}
DEFAULT_BY: dict[Kind, tuple[ExplainBy, ...]] = {
    "image": ("words", "regions"),
    "video": ("words", "frames"),
}


@dataclass(frozen=True)
class Explanation:
    """The effects of words, regions and frames on the scores of one item, each None if not asked.

    pixels: (frames, 3, H, W) uint8 as the model sees them; forwards: scored variants.
    """

    item: Item
    kind: Kind
    pixels: Tensor
    settings: str
    forwards: int
    words: WordEffects | None = None
    regions: RegionMap | None = None
    frames: FrameEffects | None = None

    @property
    def prompt(self) -> str:
        """The prompt of the item."""
        return self.item.prompt or ""

    @property
    def media(self) -> str | None:
        """The path or URL of the media; None for media in memory."""
        return media_text(self.item.media)

    def record(self) -> dict[str, Any]:
        """Return the explanation as a dict of JSON values with stable names."""
        parts = {"words": self.words, "regions": self.regions, "frames": self.frames}
        return {
            "id": printable(self.item.id),
            "media": self.media,
            "kind": self.kind,
            "prompt": printable(self.prompt),
            "status": "ok",
            **{name: None if part is None else part.record() for name, part in parts.items()},
            "forwards": self.forwards,
            "note": NOTE,
            "settings": self.settings,
        }


def explain(
    item: Item,
    engine: LocalEngine,
    by: str | Sequence[str] | None = None,
    axis: str | None = None,
    settings: str = "",
) -> Explanation:
    """Return the explanation of an item; raises ItemError, and UsageError for an unknown axis.

    by: `words`, `regions`, `frames` (None: words and regions of an image, words and frames of a
    clip of several frames). axis: None for alignment by words, coherence by regions, temporal by
    frames.
    """
    parts = checked_parts(by)
    check_axis(axis, engine.model.axes)
    subject = subject_of(item, engine)
    if subject.kind == "image" and axis in VIDEO_AXES:
        raise UnsupportedMediaError(f"an image has no score on {axis}; expected a video")
    # A clip of one frame has no frames to compare.
    wanted = parts or DEFAULT_BY[subject.kind if len(subject.pixels) > 1 else "image"]
    explained: dict[str, Any] = {
        part: EXPLAINERS[part](subject, axis or _axis_of(part, subject)) for part in wanted
    }
    return Explanation(item, subject.kind, subject.pixels, settings, subject.forwards, **explained)


EXPLAINERS = {"words": explain_words, "regions": explain_regions, "frames": explain_frames}


def checked_parts(by: str | Sequence[str] | None) -> tuple[ExplainBy, ...] | None:
    """Return the ways to explain, each once; raises UsageError for an unknown one.

    A str has one way, or several with commas.
    """
    if by is None:
        return None
    parts = [part.strip() for part in by.split(",")] if isinstance(by, str) else by
    for part in parts:
        check_choice(part, ExplainBy, "by")
    return cast(tuple[ExplainBy, ...], tuple(dict.fromkeys(parts)))


def check_axis(axis: str | None, axes: Sequence[str]) -> None:
    """Raise UsageError for an axis that the model does not have."""
    if axis is not None and axis not in axes:
        raise UsageError(f"axis: expected one of {', '.join(axes)}, got {axis!r}")


def _axis_of(part: ExplainBy, subject: Subject) -> str:
    axes = subject.model.axes
    return next((axis for axis in AXES[part] if axis in axes), axes[0])
