"""A row of head outputs becomes scores, and an item with them a scored row."""

from torch import Tensor

from librehps.engine.decode import Decoded
from librehps.errors import ItemError, NonFiniteScoreError
from librehps.models.librehps.heads import HeadOutput
from librehps.types import AXES, ImageScore, Item, ScoreAxis, ScoredRow, VideoScore


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


def _axis(mu: Tensor, sigma: Tensor) -> ScoreAxis:
    return ScoreAxis(mean=mu.sigmoid().item(), sigma=sigma.item(), raw_mean=mu.item())
