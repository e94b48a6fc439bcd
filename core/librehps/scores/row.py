"""The flat record of a scored row."""

from typing import Any

from librehps.settings import Settings
from librehps.types import AxisColumns, ScoredRow, VideoScore, score_columns


def to_record(row: ScoredRow, settings: Settings) -> dict[str, Any]:
    """Return the default columns of one row, in order, without the user's own."""
    found, score = row.facts(), row.score
    found["frames"] = list(score.frames) if isinstance(score, VideoScore) else None
    names = ("id", "media", "kind", "prompt", "group")
    ends = ("width", "height", "frames", "status", "error_type", "error")
    return {
        **{name: found[name] for name in names},
        **score_columns(score, settings.axes),
        **{name: found[name] for name in ends},
        "settings": settings.digest,
    }


def to_full_record(row: ScoredRow, settings: Settings) -> dict[str, Any]:
    """Return the default columns, and sigmas, scalar, prompt tokens and hashes of the media."""
    score = row.score
    known = AxisColumns.of({} if score is None else score.axes)
    of_axis = dict(zip(known.names, known.sigmas, strict=True))
    sigmas = {f"{name}_sigma": of_axis.get(name) for name in settings.axes}
    return {
        **to_record(row, settings),
        **sigmas,
        "scalar": score and score.scalar,
        "prompt_tokens": row.prompt_tokens,
        "sha256": row.sha256,
        "phash": row.phash,
    }
