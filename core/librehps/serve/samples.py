"""Samples of RL trainers: the media and prompt to score, and the requested rewards."""

from dataclasses import dataclass

from librehps.serve.schemas import REWARD_NAME, Media, RewardRequest, Turn

# Fields of a turn that hold an image or video.
TURN_MEDIA_FIELDS = ("image_b64", "video_b64", "video_path")


@dataclass(frozen=True)
class Sample:
    """A sample to score; `media` is None if nothing can be scored.

    `problems` maps the name of a reward to the reason why the sample lacks that reward.
    """

    id: str
    prompt: str
    media: Media | None
    problems: dict[str, str]


def sample_of(request: RewardRequest, id: str) -> Sample:
    """Return the sample of a request: its only media, and the text of all turns as the prompt."""
    names = request.required_rewards or [REWARD_NAME]
    unknown = [name for name in names if name != REWARD_NAME]
    problems = dict.fromkeys(unknown, f"unknown reward (this server has {REWARD_NAME})")
    prompt = "\n".join(turn.text for turn in request.history if turn.text)
    given = [pair for turn in request.history for pair in _media(turn).items()]
    if REWARD_NAME not in names:
        return Sample(id, prompt, None, problems)
    if len(given) != 1:
        problems[REWARD_NAME] = (
            f"history: expected exactly one of {', '.join(TURN_MEDIA_FIELDS)}, got {len(given)}"
        )
        return Sample(id, prompt, None, problems)
    return Sample(id, prompt, Media(**dict(given)), problems)


def _media(turn: Turn) -> dict[str, str]:
    fields = {name: getattr(turn, name) for name in TURN_MEDIA_FIELDS}
    return {name: value for name, value in fields.items() if value is not None}
