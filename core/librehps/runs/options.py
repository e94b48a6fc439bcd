"""Options of a run: the model, the Ray cluster, and how sources are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from librehps.choices import Animated, Sample, VideoBackend, WeightMode
from librehps.errors import UsageError
from librehps.media.options import MediaOptions
from librehps.settings import DEFAULT_MODEL, TINY

if TYPE_CHECKING:
    from librehps.items.source import SourceOptions

# Options that do not change the scores; `LibreHPS.foresee` does not take them.
SPEED_ONLY = ("batch_size", "workers", "max_prompt_tokens", "video_backend", "cache")


@dataclass(frozen=True)
class ModelOptions:
    """The model of a run and how to load it; see `LibreHPS.from_pretrained`.

    `model` is a hub id, the folder of a checkpoint, or `tiny`.
    """

    model: str | Path = DEFAULT_MODEL
    attn_impl: str = "auto"
    dtype: str | None = None
    device: str | Sequence[str] | None = None
    revision: str | None = None
    weights: WeightMode = "auto"
    compile: bool = False
    num_frames: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    max_prompt_tokens: int = 1024
    video_backend: VideoBackend = "auto"
    background: str = "white"
    color_management: bool = True
    animated: Animated = "clip"
    sample: Sample = "index"
    cache: str | Path | None = None
    download: bool = True

    def __post_init__(self) -> None:
        # An invalid value is an error here, before a cluster starts or a model is loaded.
        MediaOptions(self.background, self.color_management, self.animated, self.sample)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `LibreHPS.from_pretrained`."""
        arguments = dict(vars(self))
        return {"path_or_id": arguments.pop("model"), **arguments}

    def foreseen_arguments(self) -> dict[str, Any]:
        """Return the arguments of `LibreHPS.foresee`."""
        return {k: value for k, value in self.arguments().items() if k not in SPEED_ONLY}

    def absolute_model(self) -> str:
        """Return the model's name, or its absolute folder for processes in other folders."""
        folder = Path(self.model).expanduser()
        is_folder = str(self.model) != TINY and folder.is_dir()
        return str(folder.absolute()) if is_folder else str(self.model)


@dataclass(frozen=True)
class RayOptions:
    """The Ray cluster of a run: `address` of a cluster to join; `local` starts Ray here.

    Without an address the variable RAY_ADDRESS counts, else Ray is started on this machine.
    `num_gpus` is per actor (None: 1 if the cluster has GPUs), `actors` the number of actors (None:
    as many as fit), `tasks` the number of decode threads of all actors (None: one per core). Raises
    UsageError for an invalid value.
    """

    address: str | None = None
    num_gpus: float | None = None
    actors: int | None = None
    tasks: int | None = None

    def __post_init__(self) -> None:
        gpus = self.num_gpus or 0.0
        if gpus > 1 and gpus % 1:
            raise UsageError(f"--num-gpus: expected at most 1 or a whole number, got {gpus:g}")
        if (self.address or "").startswith("ray://"):
            raise UsageError(
                f"unsupported Ray address {self.address}: the Ray client cannot stream data",
                hint="Run on a node of the cluster, with --ray-address auto.",
            )
        if "://" in (self.address or ""):
            raise UsageError(
                f"unsupported Ray address {self.address}: expected HOST:PORT or auto",
                hint="Give --ray-address; `ray job submit` alone takes an address with http.",
            )


class MediaKeywords(TypedDict, total=False):
    """The keyword arguments for how files become pixels; see `MediaOptions`."""

    background: str
    color_management: bool
    animated: Animated
    sample: Sample


class SourceKeywords(TypedDict, total=False):
    """The keyword arguments for reading manifests, tars and lists, named like the flags."""

    root: str | Path | None
    media_column: str | None
    prompt_column: str | None
    id_column: str | None
    group_column: str | None
    rename: Mapping[str, str] | None
    null: bool
    allow_remote: bool


class RunKeywords(SourceKeywords, MediaKeywords, total=False):
    """The keyword arguments of a run that reads sources with a model it loads."""


def media_keywords(keywords: RunKeywords) -> MediaKeywords:
    """Return only the keywords for how files become pixels."""
    given = {k: value for k, value in keywords.items() if k in MediaKeywords.__annotations__}
    return cast(MediaKeywords, given)


def source_options(keywords: SourceKeywords, shard: str | None = None) -> "SourceOptions":
    """Return the options for reading sources; raises UsageError for an invalid `shard`."""
    from librehps.items.rows import ColumnOptions
    from librehps.items.source import SourceOptions
    from librehps.scores.shards import parse_shard

    columns = ColumnOptions(
        media=keywords.get("media_column"),
        prompt=keywords.get("prompt_column"),
        id=keywords.get("id_column"),
        group=keywords.get("group_column"),
        rename=keywords.get("rename") or {},
    )
    root = keywords.get("root")
    return SourceOptions(
        columns=columns,
        root=None if root is None else str(root),
        null=keywords.get("null", False),
        allow_remote=keywords.get("allow_remote", False),
        shard=None if shard is None else parse_shard(shard),
    )


def check_update(update: bool, prune: bool, *, is_local: bool, **ways: bool) -> None:
    """Raise UsageError for an update in another way at the same time, or with Ray."""
    if prune and not update:
        raise UsageError("--prune needs --update", hint="Add --update.")
    given = [f"--{name.replace('_', '-')}" for name, is_given in ways.items() if is_given]
    if update and given:
        raise UsageError(
            f"--update and {' or '.join(given)} cannot be used together",
            hint="Use --update alone: it also continues an interrupted update, and tries items "
            "with errors again; --overwrite scores everything again.",
        )
    if update and not is_local:
        raise UsageError(
            "--update: unsupported with Ray, whose output is a folder of parts",
            hint="Use --engine local with a .parquet or .jsonl file.",
        )
