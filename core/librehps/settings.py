"""What a score depends on, and the short digest that rows carry."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

DEFAULT_MODEL = "LibreHPS/LibreHPS-4B-v1.1"
DEFAULT_MODEL_SIZE = "20.7 GB"
TINY = "tiny"


@dataclass(frozen=True)
class Settings:
    """Two scores can be compared only where these are equal.

    `pixel_budget` in pixels a picture (0: only round the sides); `fingerprint` names the weights,
    `layout` the model's configuration and tokenizer.
    """

    model: str
    fingerprint: str
    layout: str
    dtype: str
    attention: str
    delta_rule: str
    pixel_budget: int
    num_frames: int
    version: str

    @property
    def digest(self) -> str:
        """12 hex digits over every field."""
        text = json.dumps(self.record(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def record(self) -> dict[str, Any]:
        """The full record, as it stands beside or inside an output file."""
        return asdict(self)
