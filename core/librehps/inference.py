"""The names of the module `librehps.inference` in the package librehps 1.1.2."""

from librehps.errors import CheckpointLoadError, InferenceContractError
from librehps.scorer import LibreHPS
from librehps.types import (
    DEFAULT_PROBABILITY_CUTOFF,
    DEFAULT_SIGMA_CEILING,
    DEFAULT_TEMPERATURE,
    MAX_BATCH_SIZE,
    BatchItem,
    ImageScore,
    PairComparison,
    ScoreAxis,
    VideoScore,
)

__all__ = [
    "DEFAULT_PROBABILITY_CUTOFF",
    "DEFAULT_SIGMA_CEILING",
    "DEFAULT_TEMPERATURE",
    "MAX_BATCH_SIZE",
    "BatchItem",
    "CheckpointLoadError",
    "ImageScore",
    "InferenceContractError",
    "LibreHPS",
    "PairComparison",
    "ScoreAxis",
    "VideoScore",
]
