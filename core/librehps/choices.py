"""Valid values of each option that takes one of a fixed set, for flags and for Python."""

from typing import Any, Literal, get_args

from librehps.errors import LibreHPSError, UsageError

Kind = Literal["image", "video"]
Status = Literal["ok", "error"]
Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]
PromptFrom = Literal["auto", "column", "sidecar", "metadata", "folder"]
ColumnSet = Literal["default", "full"]

Dtype = Literal["auto", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"]
WeightMode = Literal["auto", "full", "int8", "nf4"]
Kernels = Literal["auto", "torch"]
Attention = Literal["auto", "fa4", "fa2", "sdpa", "eager"]
VideoBackend = Literal["auto", "decord", "pyav"]
Engine = Literal["local", "ray"]
Animated = Literal["clip", "still"]
Sample = Literal["index", "time"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

Normalise = Literal["prompt", "all", "none"]
JoinKey = Literal["auto", "sha256", "media", "id"]

PairsFormat = Literal[
    "auto",
    "pairs",
    "hpdv3",
    "hpdv2",
    "hpdv2-train",
    "imagereward",
    "imagerewarddb",
    "visionreward",
    "pickapic",
    "videogen",
    "labelstudio",
    "argilla",
]
Split = Literal["auto", "held-out", "all"]
CalibrationMethod = Literal["platt", "temperature"]

TrainedPart = Literal["heads", "lora", "full"]
SigmaLoss = Literal["plain", "aware"]

RewardScale = Literal["mu", "mean"]
ResizeDevice = Literal["cpu", "device"]
MissingReward = Literal["mean", "nan"]

Way = Literal["copy", "link", "move"]
NameBy = Literal["original", "rank", "score"]
SidecarNames = Literal["both", "full", "stem"]

ExplainBy = Literal["words", "regions", "frames"]

BenchConfig = Literal["4b", "47m", "tiny"]
PictureFormat = Literal["jpeg", "png"]

DeviceStatus = Literal["ready", "stalled", "failed"]
ServerStatus = Literal["ready", "stalled", "failed", "loading", "draining"]


def check_choice(
    value: object, choices: Any, name: str, error: type[LibreHPSError] = UsageError
) -> None:
    """Raise `error` unless the value is one of the Literal `choices` of the option `name`."""
    valid = get_args(choices)
    if value not in valid:
        raise error(f"{name}: expected {', '.join(valid[:-1])} or {valid[-1]}, got {value!r}")
