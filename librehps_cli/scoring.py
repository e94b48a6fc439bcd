"""What every command that scores does first: list the items, load the model."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from librehps_cli.options import CheckpointOptions, ModelOptions, PromptOptions
from librehps_cli.output import Output

if TYPE_CHECKING:
    from librehps import Item, LibreHPS

T = TypeVar("T")


def list_items(paths: list[Path], prompts: PromptOptions, out: Output) -> list["Item"]:
    """The media of the paths, each with its prompt."""
    from librehps.source.files import list_media
    from librehps.source.prompts import with_prompts

    listing = list_media(paths)
    items = list(with_prompts(listing.items, prompts.prompt, prompts.prompt_from))
    if listing.skipped:
        out.note(f"{listing.skipped} files of other kinds were skipped")
    return items


def load_scorer(options: ModelOptions, prompts: PromptOptions, out: Output) -> "LibreHPS":
    """The model; a person at a terminal is asked before a download."""
    from librehps import LibreHPS
    from librehps.errors import UsageError

    if options.calibration is not None and not options.calibration.is_file():
        raise UsageError(f"no such calibration file: {options.calibration}")

    def load(download: bool) -> LibreHPS:
        return LibreHPS.from_pretrained(
            options.model,
            attn_impl=options.attn,
            dtype=options.dtype,
            device=options.device,
            revision=options.revision,
            num_frames=options.num_frames,
            batch_size=options.batch_size,
            max_prompt_tokens=prompts.max_prompt_tokens,
            video_backend=options.video_backend,
            download=download,
        )

    return _agreed(options, load, out)


def find_checkpoint(options: CheckpointOptions, out: Output) -> Path:
    """The model's folder; a person at a terminal is asked before a download."""
    from librehps.model.locate import locate

    def find(download: bool) -> Path:
        return locate(options.model, options.revision, download).folder

    return _agreed(options, find, out)


def _agreed(options: CheckpointOptions, load: Callable[[bool], T], out: Output) -> T:
    """What `load` gives, with a download where that is agreed to."""
    from librehps.errors import DownloadNeededError

    try:
        return load(options.download)
    except DownloadNeededError as error:
        if not out.can_ask() or not typer.confirm(f"{error}. Download?", err=True):
            raise
    return load(True)


def to_records(scorer: "LibreHPS", items: Iterable["Item"]) -> Iterator[dict[str, Any]]:
    """The flat record of each item, in order."""
    from librehps.pipeline.row import to_record

    for row in scorer.score_items(items):
        yield to_record(row, scorer.settings.digest)
