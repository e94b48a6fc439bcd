"""The flat record of a scored row."""

from pathlib import Path
from typing import Any

from librehps.files import printable
from librehps.types import AXES, ScoredRow, Stored, VideoScore, score_columns


def to_record(row: ScoredRow, settings: str) -> dict[str, Any]:
    """The default columns of one row, in order; `settings` is the digest of Settings."""
    score, item = row.score, row.item
    return {
        "id": printable(item.id),
        "media": media_text(item.media),
        "kind": row.kind,
        "prompt": None if item.prompt is None else printable(item.prompt),
        "group": None if item.group is None else printable(item.group),
        **score_columns(score),
        "width": row.width,
        "height": row.height,
        "frames": list(score.frames) if isinstance(score, VideoScore) else None,
        "status": row.status,
        "error_type": None if row.error is None else type(row.error).__name__,
        "error": None if row.error is None else printable(str(row.error)),
        "settings": settings,
    }


def to_full_record(row: ScoredRow, settings: str) -> dict[str, Any]:
    """The default columns, and those that statistics need: sigmas, scalar, prompt tokens, hash."""
    axes = {name: getattr(row.score, name, None) for name in AXES}
    return {
        **to_record(row, settings),
        **{f"{name}_sigma": axis and axis.sigma for name, axis in axes.items()},
        "scalar": row.score and row.score.scalar,
        "prompt_tokens": row.prompt_tokens,
        "sha256": row.sha256,
    }


def media_text(media: Any) -> str | None:
    """Where an item's media lies, as UTF-8 text; None where it came in memory."""
    return printable(str(media)) if isinstance(media, str | Path | Stored) else None
