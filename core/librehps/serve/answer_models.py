"""Pydantic models of the answers with scores, made from the axes of the served model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, create_model

from librehps.choices import Side, Status, Winner


class ItemState(BaseModel):
    """The outcome of an item; an item without an id gets its index in the request."""

    id: str
    status: Status
    error_type: str | None
    error: str | None


class Decision(BaseModel):
    """The verdict of a comparison: `win_probability` is the winner's, `p_a_wins` is P(a wins)."""

    winner: Winner
    win_probability: float
    p_a_wins: float
    confident: bool
    calibrated: bool
    settings: str


@dataclass(frozen=True)
class AnswerModels:
    """The Pydantic models of the answers of POST /score and POST /compare."""

    plain: type[BaseModel]
    verdict: type[BaseModel]


def answer_models(axes: Sequence[str]) -> AnswerModels:
    """Return the Pydantic models of answers with scores on `axes`."""
    names = (*axes, *(f"{axis}_mu" for axis in axes))
    fields: dict[str, Any] = dict.fromkeys(names, (float | None, ...))
    meaning = "Means in [0, 1] and unbounded mu of each axis; temporal is null for images."
    scores = create_model("Scores", __doc__=meaning, **fields)
    item = create_model("ItemScores", __base__=(scores, ItemState))
    plain = create_model(
        "PlainAnswer",
        __doc__="Scores in the order of the items; compare only scores with equal settings.",
        items=(list[item], ...),  # type: ignore[valid-type]
        settings=(str, ...),
    )
    sides = dict[Side, scores]  # type: ignore[valid-type]
    verdict = create_model("Verdict", __base__=Decision, scores=(sides, ...))
    return AnswerModels(plain, verdict)


def reward_parts(axes: Sequence[str], has_scalar: bool) -> tuple[str, ...]:
    """Return the names of a reward's parts: means in [0, 1]; mu and scalar are unbounded."""
    return (*axes, *(f"{axis}_mu" for axis in axes), *(["scalar"] if has_scalar else []))
