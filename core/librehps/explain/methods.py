"""The methods of `LibreHPS` that explain a score."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from librehps.engine.decode import Decoder
from librehps.engine.engine import LocalEngine
from librehps.settings import Settings
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.explain.explanation import Explanation
    from librehps.types import ImageSource, VideoSource


class ExplainMethods(ABC):
    """The methods `explain_image`, `explain_video` and `explain_item` of a loaded model."""

    settings: Settings

    @abstractmethod
    def _decoder(self, num_frames: int | None = None, pixel_budget: int | None = None) -> Decoder:
        """Return the decoder of media."""

    @abstractmethod
    def _still_decoder(self) -> Decoder:
        """Return the decoder that reads the first frame of an animated image."""

    @abstractmethod
    def _engine(self, decoder: Decoder, batch_size: int | None) -> LocalEngine:
        """Return the engine that scores what the decoder reads."""

    def explain_image(
        self,
        image: "ImageSource",
        prompt: str,
        axis: str | None = None,
        by: str | Sequence[str] | None = None,
    ) -> "Explanation":
        """Return what each word of the prompt and each region of the image does to a score.

        axis: the explained axis (None: alignment by words, coherence by regions). by: `words`,
        `regions`, or both (None). The model is explained, not the image. Raises ItemError, and
        UsageError for an unknown axis.
        """
        item = Item("image", image, prompt, "image")
        return self._explained(item, self._still_decoder(), axis, by)

    def explain_video(
        self,
        video: "VideoSource",
        prompt: str,
        axis: str | None = None,
        by: str | Sequence[str] | None = None,
        num_frames: int | None = None,
    ) -> "Explanation":
        """Return what each word of the prompt and each frame of the video does to a score.

        axis: the explained axis (None: alignment by words, temporal by frames, coherence by
        regions). by: `words`, `frames`, `regions` (None: words and frames). num_frames: as in
        `score_video`. Raises ItemError, and UsageError for an unknown axis.
        """
        item = Item("video", video, prompt, "video")
        return self._explained(item, self._decoder(num_frames), axis, by)

    def explain_item(
        self, item: Item, axis: str | None = None, by: str | Sequence[str] | None = None
    ) -> "Explanation":
        """Return the explanation of an item with a prompt; raises ItemError and UsageError."""
        return self._explained(item, self._decoder(), axis, by)

    def _explained(
        self, item: Item, decoder: Decoder, axis: str | None, by: str | Sequence[str] | None
    ) -> "Explanation":
        from librehps.explain.explanation import explain

        return explain(item, self._engine(decoder, None), by, axis, self.settings.digest)
