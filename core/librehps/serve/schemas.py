"""What requests and answers look like."""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    model_validator,
)

from librehps.choices import ServerStatus

# The reward that this server gives.
REWARD = "librehps"
PICTURE = "<base64 of a PNG, JPEG, WEBP, BMP, TIFF or GIF>"
# Whatever a server allows; a list is not looked through beyond its first fault.
MOST_ITEMS, MOST_TURNS = 4096, 256
ONE_OF = ("image_b64", "video_b64", "path", "video_path", "url")


def _whole(text: str) -> str:
    """JSON can hold halves of characters, which no output can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no character") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
Encoded = Annotated[str | None, Field(description="base64, also as a data: URL")]


class Media(BaseModel):
    """One picture or clip: exactly one of the fields."""

    model_config = ConfigDict(extra="forbid")

    image_b64: Encoded = None
    video_b64: Encoded = None
    path: Annotated[Text | None, Field(description="below a folder that the server reads from")] = (
        None
    )
    video_path: Annotated[Text | None, Field(description="as path, of a clip")] = None
    url: Annotated[Text | None, Field(description="of a host that the server fetches from")] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.given()
        if len(given) != 1:
            raise ValueError(f"one of {', '.join(ONE_OF)} is expected, not {len(given)}")
        return self

    def given(self) -> list[str]:
        """Names of the fields that say where the media is."""
        return [name for name in ONE_OF if getattr(self, name) is not None]


class PlainItem(Media):
    prompt: Text
    id: Text | None = None


class Plain(BaseModel):
    """Items, each with its prompt."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"items": [{"prompt": "a red circle", "image_b64": PICTURE, "id": "a"}]}]
        },
    )

    items: Annotated[list[PlainItem], FailFast(), Field(max_length=MOST_ITEMS)]


class Turn(BaseModel):
    """One turn of a history: text, media, or both; other fields are left alone."""

    text: Text | None = None
    image_b64: Encoded = None
    video_b64: Encoded = None
    video_path: Text | None = None


class RewardRequest(BaseModel):
    """One sample of an RL trainer; its prompt is the text of the history."""

    history: Annotated[list[Turn], FailFast(), Field(max_length=MOST_TURNS)]
    required_rewards: Annotated[
        list[Text] | None, Field(description="none: all that GET /rewards names")
    ] = None
    metadata: Any = None


class Rewards(BaseModel):
    """Samples, as RL trainers send them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "requests": [
                        {
                            "history": [{"text": "a red circle", "image_b64": PICTURE}],
                            "required_rewards": [REWARD],
                            "metadata": None,
                        }
                    ]
                }
            ]
        }
    )

    requests: Annotated[list[RewardRequest], FailFast(), Field(max_length=MOST_ITEMS)]


def _shape(body: Any) -> str:
    # With both it is neither, which `Plain` says.
    is_rewards = (
        "requests" in body and "items" not in body
        if isinstance(body, dict)
        else isinstance(body, Rewards)
    )
    return "requests" if is_rewards else "items"


ScoreBody = Annotated[
    Annotated[Rewards, Tag("requests")] | Annotated[Plain, Tag("items")], Discriminator(_shape)
]


class CompareBody(BaseModel):
    """Two of one kind, of one prompt; symmetric averages over both orders."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a red circle",
                    "a": {"image_b64": PICTURE},
                    "b": {"image_b64": PICTURE},
                }
            ]
        },
    )

    prompt: Text
    a: Media
    b: Media
    symmetric: bool = True


class RewardsAnswer(BaseModel):
    """Of each request, its rewards by name and part, and what went wrong by reward."""

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]]


class Health(BaseModel):
    status: ServerStatus
    model: str
    settings: str


class RewardNames(BaseModel):
    """Each reward and its parts."""

    rewards: dict[str, list[str]]


class Problem(BaseModel):
    """Why a request has no answer."""

    error_type: str
    error: str
