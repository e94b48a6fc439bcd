"""Flags, each spelled and documented once, and how a command takes a group of them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from librehps.choices import Attention, Dtype, Engine, PairsFormat, PromptFrom, VideoBackend
from librehps.rowfiles import KNOWN
from librehps.settings import DEFAULT_MODEL, TINY

PROMPT = "Prompt"
MODEL = "Model"
PAIRS = "Preferences"
SOURCE = "Source"
RAY = "Engine"


@dataclass(frozen=True)
class PromptOptions:
    """Where prompts come from."""

    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="The prompt of every item.", rich_help_panel=PROMPT),
    ] = None
    prompt_from: Annotated[
        PromptFrom | None,
        typer.Option(
            help="Each item's own: of its row, the .txt or .json of the same stem, what the "
            "generator wrote into the picture, its folder's name; auto: the first of the first "
            "three that has one.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    max_prompt_tokens: Annotated[
        int,
        typer.Option(min=1, help="Longer prompts are errors, never cut.", rich_help_panel=PROMPT),
    ] = 1024


@dataclass(frozen=True)
class CheckpointOptions:
    """Which model, and where it runs."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            envvar="LIBREHPS_MODEL",
            help=f"A hub id, a checkpoint's folder, or `{TINY}` (built in, for rendered shapes).",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_MODEL
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub id.", rich_help_panel=MODEL)
    ] = None
    download: Annotated[
        bool,
        typer.Option("--download", help="Download without asking.", rich_help_panel=MODEL),
    ] = False
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL)
    ] = "auto"


@dataclass(frozen=True)
class ModelOptions(CheckpointOptions):
    """And how it runs."""

    dtype: Annotated[
        Dtype,
        typer.Option(help="Of the backbone; the heads are float32.", rich_help_panel=MODEL),
    ] = "auto"
    attn: Annotated[
        Attention,
        typer.Option(help="Attention backend.", rich_help_panel=MODEL),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Items in a forward pass (default: by device).", rich_help_panel=MODEL
        ),
    ] = None
    num_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a clip (default: the model's).", rich_help_panel=MODEL),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads (with Ray: tasks) that decode (default: one a core).",
            rich_help_panel=MODEL,
        ),
    ] = None
    video_backend: Annotated[
        VideoBackend,
        typer.Option(help="Reader of videos.", rich_help_panel=MODEL),
    ] = "auto"
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="File of win probabilities (default: the one beside the model).",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True)
class SourceFlags:
    """How manifests, shards and lists are read."""

    media_column: Annotated[
        str | None,
        typer.Option(help="Of a manifest (default: media, image, ...).", rich_help_panel=SOURCE),
    ] = None
    prompt_column: Annotated[
        str | None,
        typer.Option(
            help="Of a manifest, or a field of a shard's .json (default: prompt, caption, text).",
            rich_help_panel=SOURCE,
        ),
    ] = None
    id_column: Annotated[
        str | None,
        typer.Option(help="Of a manifest (default: id, else the path).", rich_help_panel=SOURCE),
    ] = None
    group_column: Annotated[
        str | None, typer.Option(help="Of a manifest (default: group).", rich_help_panel=SOURCE)
    ] = None
    rename: Annotated[
        list[str] | None,
        typer.Option(
            help="OLD=NEW: another name for a column of your own.",
            show_default=False,
            rich_help_panel=SOURCE,
        ),
    ] = None
    root: Annotated[
        str | None,
        typer.Option(
            help="Where relative media of a manifest begin (default: its folder).",
            show_default=False,
            rich_help_panel=SOURCE,
        ),
    ] = None
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Paths on stdin end with NUL.", rich_help_panel=SOURCE),
    ] = False
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Fetch URLs that a manifest or list names.",
            rich_help_panel=SOURCE,
        ),
    ] = False


@dataclass(frozen=True)
class RayOptions:
    """Who runs the stages, and on what of a cluster."""

    engine: Annotated[
        Engine,
        typer.Option(
            help="local: this machine; ray: a cluster, into a folder of parts.",
            rich_help_panel=RAY,
        ),
    ] = "local"
    num_gpus: Annotated[
        float | None,
        typer.Option(
            min=0, help="GPUs of a Ray actor (default: 1 where there are any).", rich_help_panel=RAY
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1, help="Ray actors (default: one a GPU, else by cores).", rich_help_panel=RAY
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Cluster to join: auto, or HOST:PORT of its head (default: start one here).",
            show_default=False,
            rich_help_panel=RAY,
        ),
    ] = None

    @property
    def is_asked(self) -> bool:
        """Whether anything is said that only Ray understands."""
        return (self.num_gpus, self.concurrency, self.ray_address) != (None, None, None)


@dataclass(frozen=True)
class PairsOptions:
    """How a file of pairs is read."""

    format: Annotated[
        PairsFormat,
        typer.Option(help="Layout of the file (auto: by columns).", rich_help_panel=PAIRS),
    ] = "auto"
    root: Annotated[
        Path | None,
        typer.Option(
            help="Where media paths begin (default: the file's folder).",
            show_default=False,
            rich_help_panel=PAIRS,
        ),
    ] = None


@dataclass(frozen=True)
class PreferenceOptions(PairsOptions):
    """And what becomes of pairs that cannot be judged."""

    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing",
            help="Leave out pairs of media that do not exist.",
            rich_help_panel=PAIRS,
        ),
    ] = False


@dataclass(frozen=True)
class VerdictOptions:
    """How two scores become a verdict, and what is said of it."""

    symmetric: Annotated[
        bool,
        typer.Option(
            "--symmetric/--plain",
            help="Average over both orders, or the calibrator's plain formula, whose offset "
            "favours one side.",
        ),
    ] = True
    explain: Annotated[bool, typer.Option("--explain", help="Show what each axis says of it.")] = (
        False
    )


Paths = Annotated[
    list[str],
    typer.Argument(
        help=f"Images, videos, folders, manifests ({KNOWN}), shards (.tar), URLs, or - for a list "
        "on stdin.",
        show_default=False,
    ),
]
PairsFile = Annotated[
    Path,
    typer.Argument(help=f"Preferences, a row for each pair: {KNOWN}.", show_default=False),
]
Scores = Annotated[
    list[Path] | None,
    typer.Option(
        help="Scored files, or a folder of parts, to use instead of a model.", show_default=False
    ),
]
Json = Annotated[
    bool | None,
    typer.Option("--json/--table", help="JSON Lines or a table (default: a table on a terminal)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only on stderr.")]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each dataclass parameter spread into its fields, as Typer wants them."""
    hints: dict[str, Any] = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {n: hint for n, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def spread(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        command(**values)

    flat: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            flat += _parameters(groups[name])
        else:
            flat.append(parameter.replace(annotation=hints[name]))
    flat = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]
    spread.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return spread


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    found = inspect.signature(group).parameters.values()
    return [parameter.replace(annotation=hints[parameter.name]) for parameter in found]
