"""The LibreHPS processor: pixels and a prompt to model input."""

from dataclasses import dataclass, replace

from torch import Tensor

from librehps.models.base import Prepared
from librehps.models.librehps.batch import grid_of
from librehps.models.librehps.resize import resize, resize_as_floats
from librehps.models.librehps.tokens import PromptEncoder
from librehps.types import Kind


@dataclass(frozen=True)
class LibreHPSProcessor:
    """A processor that resizes to about `pixel_budget` pixels per frame, and tokenises.

    A budget of 0 only rounds the sides.
    """

    encoder: PromptEncoder
    pixel_budget: int

    def encode(self, prompt: str | None) -> list[int]:
        """Return the token ids of the prompt as plain text; raises PromptError."""
        return self.encoder.encode_prompt(prompt)

    def prepare(
        self, pixels: Tensor, kind: Kind, prompt_ids: list[int], *, as_floats: bool = False
    ) -> Prepared:
        """Return the prepared item of (frames, 3, H, W) uint8 pixels; raises AspectRatioError."""
        sized = (resize_as_floats if as_floats else resize)(pixels, self.pixel_budget)
        stream = self.encoder.stream(kind, grid_of(sized), prompt_ids)
        return Prepared(sized, stream.ids, stream.positions, stream.vision)

    def with_budget(self, pixel_budget: int) -> "LibreHPSProcessor":
        """Return the same processor with another budget, in pixels per frame; 0 for none."""
        return replace(self, pixel_budget=pixel_budget)
