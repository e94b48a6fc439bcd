"""A scorer whose decode and forward cost nothing, to measure everything else of a run.

    scorer = ConstantScorer(random_scores=True)
    score_to("manifest.csv", "x.parquet", model=scorer)

No media is opened: the content hash of an item is the hash of its name, and its scores are the same
for all items, or pseudo-random numbers of that hash.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from librehps import LibreHPS
from librehps.engine.decode import Decoded
from librehps.engine.engine import LocalEngine
from librehps.models.base import Prepared
from librehps.models.raw_scores import RawScores
from librehps.types import Item

SIDE = 512
TOKENS = 40
# Of which one lane has a window of 256 items, as a GPU has.
BATCH_ITEMS = 128
_NOTHING = torch.empty(0)
_IDS = torch.empty(TOKENS)


class ConstantDecoder:
    """A decoder that returns the same empty input for each item."""

    cache = None

    def __init__(self, real: Any) -> None:
        self.readers = real.readers

    def kind_of(self, item: Item, content: object) -> str:
        return "image"

    def decode(self, item: Item, content: object) -> Decoded:
        hashed = hashlib.sha256(str(item.media).encode())
        # The digest stands where a model expects a tensor.
        digest: Any = hashed.digest()
        prepared = Prepared(_NOTHING, _IDS, _NOTHING, digest)
        return Decoded(prepared, "image", SIDE, SIDE, None, TOKENS, hashed.hexdigest())


class ConstantModel:
    """A model that returns scores without a forward."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, axes: tuple[str, ...], random_scores: bool) -> None:
        self.axes, self._random = axes, random_scores

    def launch(self, batch: Sequence[Prepared]) -> Callable[[], RawScores]:
        return lambda: RawScores(self._numbers(batch), has_scalar=True)

    def _numbers(self, batch: Sequence[Prepared]) -> Any:
        count = len(self.axes)
        if not self._random:
            return np.tile([0.5] * count + [1.0] * count + [1.5], (len(batch), 1))
        digests: list[Any] = [one.vision for one in batch]
        numbers = np.frombuffer(b"".join(digests), "<u2").reshape(len(batch), -1) / 9973
        return numbers[:, : 2 * count + 1].astype(np.float32).astype(float)


class ConstantScorer:
    """A `LibreHPS` with the settings of the model tiny, whose engine decodes and runs nothing."""

    decoder_type, model_type = ConstantDecoder, ConstantModel

    def __init__(self, random_scores: bool = False) -> None:
        self._real = LibreHPS.from_pretrained("tiny", device="cpu", batch_size=BATCH_ITEMS)
        self._random = random_scores

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def engine(self, *arguments: Any, **options: Any) -> LocalEngine:
        engine = self._real.engine(*arguments, **options)
        model = self.model_type(self._real.axes, self._random)
        decoder: Any = self.decoder_type(engine.decoder)
        return replace(engine, model=model, decoder=decoder, workers=1)


def write_manifest(file: Path, rows: int, random_ids: bool = False) -> None:
    """Write a manifest of `rows` rows with ids of 8 digits in order, or of 32 random ones."""
    with file.open("w") as out:
        out.write("id,image,prompt,seed,model\n")
        for row in range(rows):
            name = hashlib.md5(str(row).encode()).hexdigest() if random_ids else f"{row:08}"
            place = f"sub{row // 1000:05}/{name}.png"
            out.write(f"{name},{place},a red circle on table {row % 977},{row},m{row % 5}\n")
