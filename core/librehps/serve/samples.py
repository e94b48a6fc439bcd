"""Samples of RL trainers: the media and prompt to score, and the requested rewards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from librehps.errors import InvalidItemError
from librehps.serve.schemas import (
    Identity,
    InvalidItem,
    Media,
    RequiredRewards,
    RewardRequest,
    Turn,
)
from librehps.serve.served_rewards import ServedRewards

# Fields of a turn that hold an image or video.
TURN_MEDIA_FIELDS = ("image_b64", "video_b64", "frames_b64", "video_path", "tensor")
# The text of these roles does not describe the media.
OTHER_ROLES = ("system", "assistant")
_REQUIRED_REWARDS: TypeAdapter[list[str] | None] = TypeAdapter(RequiredRewards)


@dataclass(frozen=True)
class Sample:
    """A sample to score; `media` is None if nothing can be scored.

    `rewards` are the requested rewards that the sample may get. `problems` maps the name of a
    reward to the reason why the sample lacks that reward. `identity` has the client's own labels.
    """

    id: str
    prompt: str = ""
    media: Media | None = None
    rewards: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)


def sample_of(
    request: RewardRequest | InvalidItem, id: str, served: ServedRewards, settings: str
) -> Sample:
    """Return the sample of a request: its only media, and the text of its turns as the prompt.

    `settings` is the digest that a request may demand as its `scorer_version`.
    """
    asked, identity = _labels(request)
    names = dict.fromkeys(asked or [served.name])
    problems = {name: served.unknown for name in names if name not in served.table}
    known = tuple(name for name in names if name in served.table)
    problem = _problem(request, settings)
    if problem is not None or isinstance(request, InvalidItem):
        problems |= dict.fromkeys(known, problem or "")
        return Sample(id, problems=problems, identity=identity)
    if not known:
        return Sample(id, problems=problems, identity=identity)
    prompt = "\n".join(turn.text for turn in request.history if turn.text and _describes(turn))
    [media] = [Media(**given) for turn in request.history if (given := _media(turn))]
    return Sample(id, prompt, media, known, problems, identity)


def _labels(request: RewardRequest | InvalidItem) -> tuple[list[str] | None, dict[str, Any]]:
    """Return the requested rewards and the identity, as far as they are valid."""
    if isinstance(request, RewardRequest):
        labels = request.model_dump(include=set(Identity.model_fields), exclude_unset=True)
        return request.required_rewards, labels
    value = request.value if isinstance(request.value, dict) else {}
    try:
        asked = _REQUIRED_REWARDS.validate_python(value.get("required_rewards"))
    except ValidationError:
        asked = None
    try:
        return asked, Identity.model_validate(value).model_dump(exclude_unset=True)
    except ValidationError:
        return asked, {}


def _problem(request: RewardRequest | InvalidItem, settings: str) -> str | None:
    """Return the reason why a request cannot be scored, None if there is none."""
    if isinstance(request, InvalidItem):
        return f"{InvalidItemError.__name__}: {request.reason}"
    if request.scorer_version not in (None, settings):
        return f"scorer_version: expected {settings} (this server's settings)"
    turns = [given for turn in request.history if (given := _media(turn))]
    count = sum(map(len, turns))
    if len(turns) > 1:
        return (
            f"edits are not scored: the history has {count} images or videos; "
            "expected exactly one, made from the prompt alone"
        )
    if count != 1:
        return f"history: expected exactly one of {', '.join(TURN_MEDIA_FIELDS)}, got {count}"
    return None


def _describes(turn: Turn) -> bool:
    return not isinstance(turn.role, str) or turn.role.lower() not in OTHER_ROLES


def _media(turn: Turn) -> dict[str, Any]:
    fields = {name: getattr(turn, name) for name in TURN_MEDIA_FIELDS}
    return {name: value for name, value in fields.items() if value is not None}
