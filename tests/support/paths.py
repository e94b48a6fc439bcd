"""Paths of the golden vectors and of the examples."""

from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"
MEDIA = GOLDEN / "media"
CHECKPOINT = GOLDEN / "checkpoint"
EXAMPLES = Path(__file__).parents[2] / "examples"
