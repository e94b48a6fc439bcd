"""Score generated images and short videos against their prompts.

The public names are imported when first used, so that `import librehps` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from librehps.errors import LibreHPSError
    from librehps.scorer import LibreHPS
    from librehps.types import (
        AXES,
        BatchItem,
        ImageScore,
        Item,
        PairComparison,
        ScoreAxis,
        ScoredRow,
        VideoScore,
    )

__all__ = [
    "AXES",
    "BatchItem",
    "ImageScore",
    "Item",
    "LibreHPS",
    "LibreHPSError",
    "PairComparison",
    "ScoreAxis",
    "ScoredRow",
    "VideoScore",
    "__version__",
]

__version__ = "0.1.0"

_HOMES = {"LibreHPS": "librehps.scorer", "LibreHPSError": "librehps.errors"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "librehps.types")), name)


def __dir__() -> list[str]:
    return __all__
