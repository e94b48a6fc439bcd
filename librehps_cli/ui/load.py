"""Steps that commands share before they score: read the options, load the model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from librehps_cli.ui.options import (
    CheckpointOptions,
    ModelOptions,
    PromptOptions,
    PromptSourceOptions,
    SourceFlags,
)
from librehps_cli.ui.output import Output
from librehps_cli.ui.scoring_options import ScoringOptions

if TYPE_CHECKING:
    from librehps import LibreHPS
    from librehps.items.source import SourceOptions
    from librehps.runs.options import ModelOptions as LibraryOptions
    from librehps.runs.options import SourceKeywords

Record = dict[str, Any]
T = TypeVar("T")


def source_options(flags: SourceFlags) -> "SourceOptions":
    """Return how sources are read; raises UsageError for an invalid --rename."""
    from librehps.runs.options import source_options as options_of

    return options_of(source_keywords(flags))


def renames(pairs: list[str]) -> dict[str, str]:
    """Return the new names by old name; raises UsageError for an invalid --rename."""
    from librehps.errors import UsageError

    found = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise UsageError(f"--rename: expected OLD=NEW, got {pair!r}")
        found[old] = new
    return found


def load_scorer(
    options: ModelOptions, prompts: PromptOptions, out: Output, serves: bool = False
) -> "LibreHPS":
    """Return the loaded model; asks before a download on a terminal.

    serves: the model serves requests, and may need a process of its own.
    """
    from librehps.runs.imports import collector_paused

    with collector_paused():
        from librehps import LibreHPS
        from librehps.engine.devices.pool import needs_own_process

    arguments = load_arguments(options, prompts)
    check_calibration(options)
    arguments["own_process"] = serves and needs_own_process(options.device)

    def load(download: bool) -> LibreHPS:
        return LibreHPS.from_pretrained(**{**arguments, "download": download})

    return _agreed(options, load, out)


def load_arguments(options: ModelOptions, prompts: PromptOptions) -> Record:
    """Return the arguments of `LibreHPS.from_pretrained`."""
    return {
        "path_or_id": options.model,
        "attn_impl": options.attn,
        "dtype": options.dtype,
        "device": options.device,
        "revision": options.revision,
        "weights": options.model_weights,
        "compile": options.compile,
        "num_frames": options.num_frames,
        "batch_size": options.batch_size,
        "workers": options.workers,
        "max_prompt_tokens": prompts.max_prompt_tokens,
        "video_backend": options.video_backend,
        "background": options.background,
        "color_management": options.color_management,
        "animated": options.animated,
        "sample": options.sample,
        "cache": options.cache if isinstance(options, ScoringOptions) else None,
        "download": options.download,
    }


def prompt_keywords(options: PromptSourceOptions) -> Record:
    """Return where prompts come from and what is kept of them, as keywords of the library."""
    return {
        "prompt": options.prompt,
        "prompt_from": options.prompt_from,
        "keep_markup": options.keep_markup,
        "strip_weights": options.strip_weights,
    }


def source_keywords(flags: SourceFlags) -> "SourceKeywords":
    """Return how sources are read, as keywords of `librehps.score_to`."""
    return {
        "root": flags.root,
        "media_column": flags.media_column,
        "prompt_column": flags.prompt_column,
        "id_column": flags.id_column,
        "group_column": flags.group_column,
        "rename": renames(flags.rename or []),
        "null": flags.null,
        "allow_remote": flags.allow_remote,
    }


def model_options(options: ModelOptions, prompts: PromptOptions) -> "LibraryOptions":
    """Return which model is loaded, and how, as `librehps.score_to` takes it."""
    from librehps.runs.options import ModelOptions as LibraryOptions

    arguments = load_arguments(options, prompts)
    return LibraryOptions(model=arguments.pop("path_or_id"), **arguments)


def check_calibration(options: ModelOptions) -> None:
    """Raise UsageError if the calibration file is not found."""
    from librehps.errors import UsageError

    if options.calibration is not None and not options.calibration.is_file():
        raise UsageError(f"--calibration: file not found: {options.calibration}")


def find_checkpoint(options: CheckpointOptions, out: Output) -> Path:
    """Return the model's folder; asks before a download on a terminal."""
    from librehps.models.locate import locate

    def find(download: bool) -> Path:
        return locate(options.model, options.revision, download).folder

    return _agreed(options, find, out)


def _agreed(options: CheckpointOptions, load: Callable[[bool], T], out: Output) -> T:
    """Return the result of `load`, with a download if a person agrees to one."""
    from librehps.errors import DownloadNeededError

    try:
        return load(options.download)
    except DownloadNeededError as error:
        if not out.can_ask() or not typer.confirm(f"{error}. Download?", err=True):
            raise
    return load(True)
