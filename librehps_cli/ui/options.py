"""Flags that several commands share, and the decorator that spreads a group of flags."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from librehps.choices import Attention, Dtype, Engine, PromptFrom, WeightMode
from librehps.rowfiles import KNOWN
from librehps.settings import DEFAULT_MODEL, TINY
from librehps_cli.ui.help import CLUSTER, INPUT, MODEL, OUTPUT, PROMPT
from librehps_cli.ui.media_flags import DecodeFlags


def choices(literal: Any) -> str:
    """Return the words of a Literal, for a flag's help: `auto, cpu`."""
    return ", ".join(get_args(literal))


@dataclass(frozen=True)
class PromptSourceOptions:
    """Flags that give each item its prompt."""

    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="One prompt for all items.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    prompt_from: Annotated[
        PromptFrom | None,
        typer.Option(
            metavar="SOURCE",
            help="Read each prompt from: column (of the manifest), sidecar (a.txt or a.json next "
            "to a.png), metadata (written by the generator into the file), folder (the folder's "
            "name), auto (column, sidecar or metadata: the first that has a prompt). Default: "
            "column.",
            rich_help_panel=PROMPT,
        ),
    ] = None
    keep_markup: Annotated[
        bool,
        typer.Option(
            "--keep-markup",
            help="Keep tags such as <lora:name:0.8> in prompts (default: tags are removed).",
            rich_help_panel=PROMPT,
        ),
    ] = False
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights",
            help="Remove weights from prompts: (red:1.3) and ((red)) become red.",
            rich_help_panel=PROMPT,
        ),
    ] = False


@dataclass(frozen=True)
class PromptOptions(PromptSourceOptions):
    """Flags that give each item its prompt, and limit its length."""

    max_prompt_tokens: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="A longer prompt is an error; prompts are never truncated.",
            rich_help_panel=PROMPT,
        ),
    ] = 1024


@dataclass(frozen=True)
class CheckpointOptions:
    """Flags that name the model and its device."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            envvar="LIBREHPS_MODEL",
            help=f"Hub id, checkpoint folder, or `{TINY}` (built in; scores rendered shapes only).",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_MODEL
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Branch, tag or commit of the hub id.", rich_help_panel=MODEL
        ),
    ] = None
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Download the model without asking.", rich_help_panel=MODEL
        ),
    ] = False
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="auto, cpu, cuda, cuda:1 or mps; a process on each of several: all, or "
            "cuda:0,cuda:1.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"


def _model_weights(*flags: str) -> Any:
    return typer.Option(
        *flags,
        metavar="MODE",
        help="Linear layers: full (auto), or quantised while they are read: int8, nf4 (text layers "
        "only). Needs the extra quantize, and changes scores.",
        rich_help_panel=MODEL,
    )


ModelWeights = Annotated[WeightMode, _model_weights("--weights", "--model-weights")]
# For commands with another flag --weights.
RenamedWeights = Annotated[WeightMode, _model_weights("--model-weights")]


@dataclass(frozen=True)
class BatchOptions(CheckpointOptions):
    """Flags that name the model and say how it computes a batch."""

    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="TYPE",
            help=f"Number type of the backbone: {choices(Dtype)}. The heads are always float32.",
            rich_help_panel=MODEL,
        ),
    ] = "auto"
    model_weights: ModelWeights = "auto"
    attn: Annotated[
        Attention,
        typer.Option(
            metavar="NAME", help=f"Attention backend: {choices(Attention)}.", rich_help_panel=MODEL
        ),
    ] = "auto"
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the model with torch.compile: minutes once, then faster on a GPU. Needs "
            "a C++ compiler.",
            rich_help_panel=MODEL,
        ),
    ] = False
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Items in a batch (default: by device).", rich_help_panel=MODEL
        ),
    ] = None


@dataclass(frozen=True)
class ComputeOptions(BatchOptions):
    """Flags that name the model and say how it computes."""

    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads that decode media; with Ray, of all actors (default: one per core).",
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True)
class ModelOptions(DecodeFlags, ComputeOptions):
    """Flags that name the model, and say how it computes and how files become pixels."""

    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Calibration file, for win probabilities (default: calibration.json of the "
            "model).",
            show_default=False,
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True)
class SourceFlags:
    """Flags that say how manifests, tars and lists are read."""

    media_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Manifest column of the media path (default: media, image, ...).",
            rich_help_panel=INPUT,
        ),
    ] = None
    prompt_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Manifest column, or .json field in a tar, of the prompt (default: prompt, "
            "caption, text).",
            rich_help_panel=INPUT,
        ),
    ] = None
    id_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Manifest column of the id (default: id, else the path).",
            rich_help_panel=INPUT,
        ),
    ] = None
    group_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Manifest column of the group (default: group).",
            rich_help_panel=INPUT,
        ),
    ] = None
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="Rename a manifest column whose name is reserved. Repeatable.",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    root: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Base folder of relative paths in a manifest (default: the manifest's folder).",
            show_default=False,
            rich_help_panel=INPUT,
        ),
    ] = None
    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", help="Paths on stdin end with NUL: find -print0.", rich_help_panel=INPUT
        ),
    ] = False
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Fetch the URLs that a manifest or list names.",
            rich_help_panel=INPUT,
        ),
    ] = False


@dataclass(frozen=True)
class RayOptions:
    """Flags that choose between this machine and a Ray cluster."""

    engine: Annotated[
        Engine,
        typer.Option(
            metavar="NAME",
            help="local: this machine; ray: a cluster, with a folder of parts as output.",
            rich_help_panel=CLUSTER,
        ),
    ] = "local"
    num_gpus: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            help="GPUs per Ray actor (default: 1 if there are any).",
            rich_help_panel=CLUSTER,
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Ray actors (default: one per GPU, else by cores).",
            rich_help_panel=CLUSTER,
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Cluster to join: auto, or HOST:PORT of its head; local starts one here "
            "(default: RAY_ADDRESS, else local).",
            show_default=False,
            rich_help_panel=CLUSTER,
        ),
    ] = None

    @property
    def has_cluster_flags(self) -> bool:
        """True if a flag is given that only --engine ray uses."""
        return (self.num_gpus, self.concurrency, self.ray_address) != (None, None, None)


Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help=f"Images, videos, folders, manifests ({KNOWN}), tars (.tar), URLs, or - for a list "
        "of paths on stdin.",
        show_default=False,
    ),
]
ScoredFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="SCORES...",
        help="Scored files (.parquet, .jsonl), folders of parts, or - for JSON Lines on stdin.",
    ),
]
Json = Annotated[
    bool | None,
    typer.Option(
        "--json/--table",
        help="Print JSON Lines or a table (default: a table on a terminal).",
        rich_help_panel=OUTPUT,
    ),
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown tables.", rich_help_panel=OUTPUT)
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace an output that already exists.", rich_help_panel=OUTPUT
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only errors on stderr.", rich_help_panel=OUTPUT),
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each dataclass parameter replaced by its fields, as Typer needs."""
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
