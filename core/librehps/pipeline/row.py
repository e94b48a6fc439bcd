"""Last stage: a row of head outputs becomes scores, and scores a flat record."""

from pathlib import Path
from typing import Any

from torch import Tensor

from librehps.errors import ItemError, NonFiniteScoreError
from librehps.media.stored import Stored
from librehps.model.heads import HeadOutput
from librehps.pipeline.decode import Decoded
from librehps.types import AXES, ImageScore, Item, ScoreAxis, ScoredRow, VideoScore, score_columns


def to_score(output: HeadOutput, index: int, decoded: Decoded) -> ImageScore:
    """Scores of one row of the output; raises NonFiniteScoreError."""
    one = HeadOutput(*(tensor[index] for tensor in output))
    if not is_finite(one):
        raise NonFiniteScoreError(
            "the model gave NaN or infinity",
            hint="Try --dtype float32; if it stays, the weights are damaged.",
        )
    axes = {name: _axis(one.mu[i], one.sigma[i]) for i, name in enumerate(AXES)}
    scalar = one.scalar.item()
    if decoded.frames is not None:
        return VideoScore(**axes, scalar=scalar, frames=decoded.frames)
    del axes["temporal"]
    return ImageScore(**axes, scalar=scalar)


def is_finite(output: HeadOutput) -> bool:
    """Whether neither NaN nor infinity is in it."""
    return all(bool(tensor.isfinite().all()) for tensor in output)


def ok_row(item: Item, score: ImageScore, decoded: Decoded) -> ScoredRow:
    size = (decoded.width, decoded.height)
    return ScoredRow(item, decoded.kind, score, *size, decoded.prompt_tokens, decoded.sha256)


def error_row(item: Item, error: ItemError) -> ScoredRow:
    return ScoredRow(item, item.kind, None, error=error)


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


def printable(text: object) -> str:
    """Undecodable bytes of a file's name as %XX, so that every output is valid UTF-8.

    What is no text, as a prompt or a group may be that is an error, is shown as Python shows it.
    """
    return (
        "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in str(text))
        .encode(errors="replace")
        .decode()
    )


def _axis(mu: Tensor, sigma: Tensor) -> ScoreAxis:
    return ScoreAxis(mean=mu.sigmoid().item(), sigma=sigma.item(), raw_mean=mu.item())
