"""Pydantic models of the requests, and of the answers without scores."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    StrictBool,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from librehps.choices import ServerStatus
from librehps.serve.explained import explained
from librehps.serve.options import DEFAULT_REWARD_NAME

# A red disc of 32 x 32 pixels.
EXAMPLE_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQMAAABJtOi3AAAABlBMVEX////cHh7/Hx2WAAAAQUlEQVR42o3MsRFAQAAF"
    "0eefnBJ0QmdaU4oShAJzRJdI2GBno+UvZcdwirEXU8TSCRSbLvAS691qrmKv4rja75MHvZQKpGqOSY8AAAAASUVORK5C"
    "YII="
)
# Upper bounds, whatever the server's own limits are.
MAX_REQUEST_ITEMS, MAX_TURNS, MAX_REWARDS, MAX_FRAMES = 4096, 256, 32, 1024
MEDIA_FIELDS = ("image_b64", "video_b64", "frames_b64", "path", "video_path", "url", "tensor")


def _whole(text: str) -> str:
    """Return the text; raises ValueError for a lone surrogate, which JSON allows and UTF-8 not."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("invalid Unicode: lone surrogate") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
Encoded = Annotated[str | None, Field(description="base64, or a data: URL")]
Frames = Annotated[
    list[str] | None,
    FailFast(),
    Field(description="frames of a clip, of equal size, like image_b64", max_length=MAX_FRAMES),
]
TensorName = Annotated[Text | None, Field(description="in a body of application/x-safetensors")]


class Media(BaseModel):
    """An image or video, in exactly one of the fields."""

    model_config = ConfigDict(extra="forbid")

    image_b64: Encoded = None
    video_b64: Encoded = None
    frames_b64: Frames = None
    path: Annotated[Text | None, Field(description="in a folder of the server's --media-root")] = (
        None
    )
    video_path: Annotated[Text | None, Field(description="like path, for a video")] = None
    url: Annotated[Text | None, Field(description="on a host of the server's --url-host")] = None
    tensor: TensorName = None

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


@dataclass(frozen=True)
class InvalidItem:
    """An item or sample of a request that is not as documented, and the reason."""

    value: Any
    reason: str

    @property
    def id(self) -> str | None:
        """The id that the client gave, None if there is none."""
        id = self.value.get("id") if isinstance(self.value, dict) else None
        return id if isinstance(id, str) and id.isprintable() else None


def _kept(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return the valid item, or an InvalidItem, so that one item does not fail the request."""
    try:
        return validate(value)
    except ValidationError as error:
        return InvalidItem(value, explained(error))


AnyItem = Annotated[Any, Field(description="anything else gets an error of its own")]
if TYPE_CHECKING:
    AnyPlainItem = PlainItem | InvalidItem
else:
    AnyPlainItem = Annotated[
        PlainItem, WrapValidator(_kept, json_schema_input_type=PlainItem | AnyItem)
    ]


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

    items: Annotated[list[AnyPlainItem], FailFast(), Field(max_length=MAX_REQUEST_ITEMS)]


class Turn(BaseModel):
    """A turn of a history: text, media, or both; other fields are ignored.

    The text of the roles `system` and `assistant` is not part of the prompt.
    """

    text: Text | None = None
    role: Any = None
    image_b64: Encoded = None
    video_b64: Encoded = None
    frames_b64: Frames = None
    video_path: Text | None = None
    tensor: TensorName = None


Label = Text | int | None
RequiredRewards = Annotated[
    list[Text] | None,
    Field(description="names from GET /rewards; null: the first one", max_length=MAX_REWARDS),
]


class Identity(BaseModel):
    """The client's own labels of a sample, repeated in `identities` of the answer.

    A `scorer_version` must be the settings of the server.
    """

    request_id: Label = None
    sample_id: Label = None
    group_id: Label = None
    source_rank: Label = None
    policy_version: Label = None
    scorer_version: Label = None
    idempotency_key: Label = None


class RewardRequest(Identity):
    """A sample of an RL trainer; the text of its history is the prompt."""

    history: Annotated[list[Turn], FailFast(), Field(max_length=MAX_TURNS)]
    required_rewards: RequiredRewards = None
    # Not kept: it may be large, and nothing reads it.
    metadata: Annotated[Any, BeforeValidator(lambda _: None), Field(description="ignored")] = None


if TYPE_CHECKING:
    AnyRewardRequest = RewardRequest | InvalidItem
else:
    AnyRewardRequest = Annotated[
        RewardRequest, WrapValidator(_kept, json_schema_input_type=RewardRequest | AnyItem)
    ]


class Rewards(BaseModel):
    """A request to score samples of an RL trainer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "requests": [
                        {
                            "history": [{"text": "a red circle", "image_b64": EXAMPLE_IMAGE}],
                            "required_rewards": [DEFAULT_REWARD_NAME],
                            "metadata": None,
                        }
                    ]
                }
            ]
        }
    )

    protocol_version: Literal["1"] = "1"
    requests: Annotated[list[AnyRewardRequest], FailFast(), Field(max_length=MAX_REQUEST_ITEMS)]


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
    symmetric: StrictBool = True


class RewardsAnswer(BaseModel):
    """The rewards of each sample by name and part, and its errors by reward.

    Compare only rewards with equal settings. `identities` is there if a sample has one.
    """

    results: list[dict[str, dict[str, float]]]
    errors: list[dict[str, str]]
    settings: str
    identities: list[Identity] = []


class Status(BaseModel):
    """The state of the server or its process."""

    status: ServerStatus | Literal["alive"]


class DeviceState(BaseModel):
    """A device and its state."""

    device: str
    status: str


class Health(BaseModel):
    """The state of the server; `rewards` has the state of each reward, `queue` is in items."""

    status: ServerStatus
    model: str
    settings: str
    rewards: dict[str, list[str]]
    devices: list[DeviceState]
    queue: int
    uptime_s: float


class RewardNames(BaseModel):
    """The name of each reward, and its parts; the first reward has all parts."""

    rewards: dict[str, list[str]]
    model: str
    settings: str


class Problem(BaseModel):
    """An error answer: its type and reason."""

    error_type: str
    error: str
