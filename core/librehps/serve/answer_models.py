"""What answers with scores look like: made from the axes of the model that is served."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, create_model

from librehps.choices import Side, Status, Winner


class ItemState(BaseModel):
    """Whether an item was scored; `id` is its place where none was given."""

    id: str
    status: Status
    error_type: str | None
    error: str | None


class Decision(BaseModel):
    """`win_probability` is the winner's, `p_a_wins` that of a."""

    winner: Winner
    win_probability: float
    p_a_wins: float
    confident: bool
    calibrated: bool
    settings: str


@dataclass(frozen=True)
class AnswerModels:
    """Models of the answers of POST /score and POST /compare."""

    plain: type[BaseModel]
    verdict: type[BaseModel]


def answer_models(axes: Sequence[str]) -> AnswerModels:
    """Return the models of answers with scores on these axes."""
    names = (*axes, *(f"{axis}_mu" for axis in axes))
    fields: dict[str, Any] = dict.fromkeys(names, (float | None, ...))
    meaning = "Means in [0, 1] and unbounded mu of each axis; temporal is null for images."
    scores = create_model("Scores", __doc__=meaning, **fields)
    item = create_model("ItemScores", __base__=(scores, ItemState))
    plain = create_model(
        "PlainAnswer",
        __doc__="In the order of the items; only scores of equal settings can be compared.",
        items=(list[item], ...),  # type: ignore[valid-type]
        settings=(str, ...),
    )
    sides = dict[Side, scores]  # type: ignore[valid-type]
    verdict = create_model("Verdict", __base__=Decision, scores=(sides, ...))
    return AnswerModels(plain, verdict)


def reward_parts(axes: Sequence[str], has_scalar: bool) -> tuple[str, ...]:
    """Return the parts of a reward: means in [0, 1]; mu and scalar unbounded."""
    return (*axes, *(f"{axis}_mu" for axis in axes), *(["scalar"] if has_scalar else []))
