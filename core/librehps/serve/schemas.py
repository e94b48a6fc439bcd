"""Pydantic models of the requests, and of the answers without scores."""

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
REWARD_NAME = "librehps"
EXAMPLE_IMAGE = "<base64 of a PNG, JPEG, WEBP, BMP, TIFF or GIF>"
# Upper bounds, whatever the server's own limits are.
MAX_REQUEST_ITEMS, MAX_TURNS = 4096, 256
MEDIA_FIELDS = ("image_b64", "video_b64", "path", "video_path", "url")


def _whole(text: str) -> str:
    """Return the text; raises ValueError for a lone surrogate, which JSON allows and UTF-8 not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("invalid Unicode: lone surrogate") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
Encoded = Annotated[str | None, Field(description="base64, or a data: URL")]


class Media(BaseModel):
    """An image or video, in exactly one of the fields."""

    model_config = ConfigDict(extra="forbid")

    image_b64: Encoded = None
    video_b64: Encoded = None
    path: Annotated[Text | None, Field(description="in a folder of the server's --media-root")] = (
        None
    )
    video_path: Annotated[Text | None, Field(description="like path, for a video")] = None
    url: Annotated[Text | None, Field(description="on a host of the server's --url-host")] = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = self.given()
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {', '.join(MEDIA_FIELDS)}, got {len(given)}")
        return self

    def given(self) -> list[str]:
        """Return the names of the media fields that are set."""
        return [name for name in MEDIA_FIELDS if getattr(self, name) is not None]


class PlainItem(Media):
    prompt: Text
    id: Text | None = None


class Plain(BaseModel):
    """A request to score items, each with its prompt."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"items": [{"prompt": "a red circle", "image_b64": EXAMPLE_IMAGE, "id": "a"}]}
            ]
        },
    )

    items: Annotated[list[PlainItem], FailFast(), Field(max_length=MAX_REQUEST_ITEMS)]


class Turn(BaseModel):
    """A turn of a history: text, media, or both; other fields are ignored."""

    text: Text | None = None
    image_b64: Encoded = None
    video_b64: Encoded = None
    video_path: Text | None = None


class RewardRequest(BaseModel):
    """A sample of an RL trainer; the text of its history is the prompt."""

    history: Annotated[list[Turn], FailFast(), Field(max_length=MAX_TURNS)]
    required_rewards: Annotated[
        list[Text] | None, Field(description="null: all rewards of GET /rewards")
    ] = None
    metadata: Any = None


class Rewards(BaseModel):
    """A request to score samples of an RL trainer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "requests": [
                        {
                            "history": [{"text": "a red circle", "image_b64": EXAMPLE_IMAGE}],
                            "required_rewards": [REWARD_NAME],
                            "metadata": None,
                        }
                    ]
                }
            ]
        }
    )

    requests: Annotated[list[RewardRequest], FailFast(), Field(max_length=MAX_REQUEST_ITEMS)]


def _shape(body: Any) -> str:
    # A body with both keys goes to `Plain`, which reports the error.
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
    """Two media of one kind and their prompt; `symmetric` averages over both orders."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a red circle",
                    "a": {"image_b64": EXAMPLE_IMAGE},
                    "b": {"image_b64": EXAMPLE_IMAGE},
                }
            ]
        },
    )

    prompt: Text
    a: Media
    b: Media
    symmetric: bool = True


class RewardsAnswer(BaseModel):
    """The rewards of each sample by name and part, and its errors by reward."""

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]]


class Health(BaseModel):
    status: ServerStatus
    model: str
    settings: str


class RewardNames(BaseModel):
    """The name of each reward, and its parts."""

    rewards: dict[str, list[str]]


class Problem(BaseModel):
    """An error answer: its type and reason."""

    error_type: str
    error: str
