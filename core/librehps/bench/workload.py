"""The benchmark's workload: number, size and format of images, the prompt, and repeats."""

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from librehps.choices import PictureFormat
from librehps.errors import AspectRatioError, UsageError
from librehps.media.aspect import check_aspect_ratio
from librehps.media.image_formats import MAX_PIXELS
from librehps.models.base import Processor
from librehps.types import Item

PROMPT_TOKENS = 30
PROMPT_WORDS = "a lighthouse on a cliff at dusk with waves below painted in oil on canvas"
IMAGE_QUALITY = 90
# The largest side of a JPEG that Pillow writes.
MAX_SIDE_PX = 65_500

BATCH_SIZES = {"cuda": (1, 4, 8, 16, 32, 64, 128)}
CPU_BATCH_SIZES = (1, 2, 4, 8, 16)
QUICK_BATCH_SIZES = (1, 2)


@dataclass(frozen=True)
class Workload:
    """The workload of a benchmark: `width` and `height` in pixels, `rows` of the write stage.

    `batch_sizes` None: chosen by device.
    """

    images: int = 64
    width: int = 1024
    height: int = 1024
    format: PictureFormat = "jpeg"
    batch_sizes: tuple[int, ...] | None = None
    repeats: int = 5
    rows: int = 20_000
    quick: bool = False

    def __post_init__(self) -> None:
        counts = (self.images, self.width, self.height, self.repeats, self.rows)
        if min(*counts, *(self.batch_sizes or (1,))) < 1:
            raise UsageError("sizes and counts: expected 1 or more")
        if max(self.width, self.height) > MAX_SIDE_PX or self.width * self.height > MAX_PIXELS:
            raise UsageError(f"image size {self.width} x {self.height} is too large")
        try:
            check_aspect_ratio(self.height, self.width)
        except AspectRatioError as error:
            raise UsageError(str(error)) from error

    def sweep(self, device: str) -> tuple[int, ...]:
        """Return the batch sizes to try on a type of device, in rising order."""
        if self.batch_sizes is not None:
            return tuple(sorted(set(self.batch_sizes)))
        return QUICK_BATCH_SIZES if self.quick else BATCH_SIZES.get(device, CPU_BATCH_SIZES)


def make_items(folder: Path, workload: Workload, processor: Processor) -> list[Item]:
    """Write images (smooth waves and some noise) to `folder`; returns items with one prompt."""
    prompt, items = _prompt(processor), []
    shape = (workload.height, workload.width, 3)
    noise = np.random.default_rng(0).normal(128, 4, shape).astype(np.float32)
    y, x = (np.arange(side, dtype=np.float32) / 1024 for side in shape[:2])
    channels = np.arange(1, 4)
    down = np.cos(5 * np.outer(y, channels))[:, None]
    for index in range(workload.images):
        across = np.sin(6 * np.outer(x, channels) + index)
        pixels = np.roll(noise, index, axis=1) + 50 * (across + down)
        path = folder / f"{index:05}.{workload.format}"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=IMAGE_QUALITY)
        items.append(Item(path.name, path, prompt, "image"))
    return items


def _prompt(processor: Processor) -> str:
    """Return a prompt of about PROMPT_TOKENS tokens, for any tokenizer."""
    text = ""
    for word in cycle(PROMPT_WORDS.split()):
        text = f"{text} {word}".strip()
        if len(processor.encode(text)) >= PROMPT_TOKENS:
            break
    return text
