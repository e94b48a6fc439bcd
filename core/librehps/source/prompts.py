"""Where an item's prompt comes from."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from librehps.errors import EmptyPromptError, PromptError, UsageError
from librehps.types import Item

PromptFrom = Literal["sidecar", "folder"]


def with_prompts(
    items: Iterable[Item], prompt: str | None, prompt_from: PromptFrom | None
) -> Iterator[Item]:
    """The items with the one prompt, or each with its own; raises UsageError where neither is.

    sidecar: the text file of the same stem. folder: the name of the item's folder, with
    underscores read as spaces, which is also its group.
    """
    if prompt is not None and prompt_from is not None:
        raise UsageError("give --prompt or --prompt-from, not both")
    if prompt is not None:
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        return (replace(item, prompt=prompt) for item in items)
    if prompt_from == "sidecar":
        return (_from_sidecar(item) for item in items)
    if prompt_from == "folder":
        return (_from_folder(item) for item in items)
    raise UsageError(
        "no prompt was given",
        hint='Use --prompt "..." for all, or --prompt-from sidecar (a.png has a.txt beside it) '
        "or --prompt-from folder (the folder's name).",
    )


def _from_sidecar(item: Item) -> Item:
    file = Path(item.media).with_suffix(".txt")
    try:
        prompt = file.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return replace(item, problem=PromptError(f"no prompt: {file} does not exist"))
    except (OSError, UnicodeDecodeError) as error:
        return replace(item, problem=PromptError(f"prompt file {file} cannot be read: {error}"))
    if not prompt:
        return replace(item, problem=EmptyPromptError(f"prompt file {file} is empty"))
    return replace(item, prompt=prompt)


def _from_folder(item: Item) -> Item:
    folder = Path(item.media).absolute().parent
    return replace(item, prompt=folder.name.replace("_", " "), group=str(folder))
