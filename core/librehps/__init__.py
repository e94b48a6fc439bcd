"""Score generated images and short videos against their prompts.

The public names are imported when first used, so that `import librehps` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from librehps.decide.best_of_n import best_of_n
    from librehps.decide.compare import Comparison
    from librehps.decide.copy_media import copy_media
    from librehps.decide.filter import filter_rows
    from librehps.decide.join import join_scores
    from librehps.decide.leaderboard import leaderboard
    from librehps.decide.naming import Naming
    from librehps.decide.picks import BestOfN
    from librehps.decide.standings import Leaderboard
    from librehps.errors import CheckpointLoadError, InferenceContractError, LibreHPSError
    from librehps.explain.write import write_explanations
    from librehps.judge.run import judge_pairs
    from librehps.preferences.column_names import PairColumns
    from librehps.ratings.tag import Tagged, tag
    from librehps.report.write import write_report
    from librehps.runs.compare import compare, compare_pairs
    from librehps.runs.explain import explain_media
    from librehps.runs.run import score_to
    from librehps.runs.scored import find_calibrator
    from librehps.runs.summary import RunSummary
    from librehps.runs.watch_to import watch_to
    from librehps.scorer import LibreHPS
    from librehps.scores.score_table import ScoreTable, read_scores
    from librehps.types import (
        AXES,
        DEFAULT_PROBABILITY_CUTOFF,
        DEFAULT_SIGMA_CEILING,
        DEFAULT_TEMPERATURE,
        MAX_BATCH_SIZE,
        BatchItem,
        ImageScore,
        Item,
        PairComparison,
        Score,
        ScoreAxis,
        ScoredRow,
        VideoScore,
    )

__all__ = [
    "AXES",
    "DEFAULT_PROBABILITY_CUTOFF",
    "DEFAULT_SIGMA_CEILING",
    "DEFAULT_TEMPERATURE",
    "MAX_BATCH_SIZE",
    "BatchItem",
    "BestOfN",
    "CheckpointLoadError",
    "Comparison",
    "ImageScore",
    "InferenceContractError",
    "Item",
    "Leaderboard",
    "LibreHPS",
    "LibreHPSError",
    "Naming",
    "PairColumns",
    "PairComparison",
    "RunSummary",
    "Score",
    "ScoreAxis",
    "ScoreTable",
    "ScoredRow",
    "Tagged",
    "VideoScore",
    "__version__",
    "best_of_n",
    "compare",
    "compare_pairs",
    "copy_media",
    "explain_media",
    "filter_rows",
    "find_calibrator",
    "join_scores",
    "judge_pairs",
    "leaderboard",
    "read_scores",
    "score_to",
    "tag",
    "watch_to",
    "write_explanations",
    "write_report",
]

__version__ = "0.1.0"

# Module of each public name; the names that are not here are in librehps.types.
_MODULES = {
    "BestOfN": "librehps.decide.picks",
    "CheckpointLoadError": "librehps.errors",
    "InferenceContractError": "librehps.errors",
    "Comparison": "librehps.decide.compare",
    "Leaderboard": "librehps.decide.standings",
    "LibreHPS": "librehps.scorer",
    "LibreHPSError": "librehps.errors",
    "Naming": "librehps.decide.naming",
    "PairColumns": "librehps.preferences.column_names",
    "RunSummary": "librehps.runs.summary",
    "ScoreTable": "librehps.scores.score_table",
    "Tagged": "librehps.ratings.tag",
    "best_of_n": "librehps.decide.best_of_n",
    "compare": "librehps.runs.compare",
    "compare_pairs": "librehps.runs.compare",
    "copy_media": "librehps.decide.copy_media",
    "explain_media": "librehps.runs.explain",
    "filter_rows": "librehps.decide.filter",
    "find_calibrator": "librehps.runs.scored",
    "join_scores": "librehps.decide.join",
    "judge_pairs": "librehps.judge.run",
    "leaderboard": "librehps.decide.leaderboard",
    "read_scores": "librehps.scores.score_table",
    "score_to": "librehps.runs.run",
    "tag": "librehps.ratings.tag",
    "watch_to": "librehps.runs.watch_to",
    "write_explanations": "librehps.explain.write",
    "write_report": "librehps.report.write",
}


if not TYPE_CHECKING:
    # A type checker that sees __getattr__ accepts every name, also misspelt ones.
    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES.get(name, "librehps.types")), name)


def __dir__() -> list[str]:
    return __all__
