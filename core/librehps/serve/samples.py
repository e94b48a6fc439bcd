"""Samples of RL trainers: what to score of each, and which rewards it asks for."""

from dataclasses import dataclass

from librehps.serve.schemas import REWARD, Media, RewardRequest, Turn

# Fields of a turn that hold a picture or clip.
TAKEN = ("image_b64", "video_b64", "video_path")


@dataclass(frozen=True)
class Sample:
    """One request; `media` is None where there is nothing to score.

    `problems` are the reasons by name of reward.
    """

    id: str
    prompt: str
    media: Media | None
    problems: dict[str, str]


def wanted(request: RewardRequest, id: str) -> Sample:
    """The prompt is the text of all turns, a line each; the media that of the one that has some."""
    names = request.required_rewards or [REWARD]
    unknown = [name for name in names if name != REWARD]
    problems = dict.fromkeys(unknown, f"no such reward: this server has {REWARD}")
    prompt = "\n".join(turn.text for turn in request.history if turn.text)
    given = [pair for turn in request.history for pair in _media(turn).items()]
    if REWARD not in names:
        return Sample(id, prompt, None, problems)
    if len(given) != 1:
        problems[REWARD] = f"a history has one of {', '.join(TAKEN)}, not {len(given)}"
        return Sample(id, prompt, None, problems)
    return Sample(id, prompt, Media(**dict(given)), problems)


def _media(turn: Turn) -> dict[str, str]:
    fields = {name: getattr(turn, name) for name in TAKEN}
    return {name: value for name, value in fields.items() if value is not None}
