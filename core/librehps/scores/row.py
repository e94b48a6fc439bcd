"""The flat record of a scored row."""

from typing import Any

from librehps.settings import Settings
from librehps.types import ScoredRow, score_columns


def to_record(row: ScoredRow, settings: Settings) -> dict[str, Any]:
    """Return the default columns of one row, in order, without the user's own."""
    found = row.to_dict()
    names = ("id", "media", "kind", "prompt", "group")
    ends = ("width", "height", "frames", "status", "error_type", "error")
    return {
        **{name: found[name] for name in names},
        **score_columns(row.score, settings.axes),
        **{name: found.get(name) for name in ends},
        "settings": settings.digest,
    }


def to_full_record(row: ScoredRow, settings: Settings) -> dict[str, Any]:
    """Return the default columns, and sigmas, scalar, prompt tokens and hash of the media."""
    score = row.score
    sigmas = {
        f"{name}_sigma": None if score is None or name not in score else score[name].sigma
        for name in settings.axes
    }
    return {
        **to_record(row, settings),
        **sigmas,
        "scalar": score and score.scalar,
        "prompt_tokens": row.prompt_tokens,
        "sha256": row.sha256,
    }
