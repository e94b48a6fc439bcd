"""The HPSv3 processor: pixels and a prompt to model input."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from librehps.models.base import Prepared
from librehps.models.hpsv3.model import MERGE, grid_of
from librehps.models.hpsv3.resize import resize, resize_as_floats
from librehps.models.hpsv3.tokens import StreamEncoder
from librehps.types import Kind


@dataclass(frozen=True)
class HPSv3Processor:
    """A processor that resizes to about `pixel_budget` pixels, and tokenises.

    A budget of 0 only rounds the sides.
    """

    encoder: StreamEncoder
    pixel_budget: int

    def encode(self, prompt: str | None) -> list[int]:
        """Return the token ids of the prompt as plain text; raises PromptError."""
        return self.encoder.encode_prompt(prompt)

    def prepare(
        self, pixels: Tensor, kind: Kind, prompt_ids: list[int], *, as_floats: bool = False
    ) -> Prepared:
        """Return the prepared item of (1, 3, H, W) uint8 pixels; raises AspectRatioError."""
        sized = (resize_as_floats if as_floats else resize)(pixels, self.pixel_budget)
        rows, columns = grid_of(sized)
        ids, vision = self.encoder.stream(rows * columns // MERGE**2, prompt_ids)
        # The package uses plain positions 0, 1, 2, ... on all three axes, also in the image.
        positions = torch.arange(len(ids)).expand(3, -1)
        return Prepared(sized, ids, positions, vision)

    def with_budget(self, pixel_budget: int) -> "HPSv3Processor":
        """Return the same processor with another budget, in pixels; 0 for none."""
        return replace(self, pixel_budget=pixel_budget)
