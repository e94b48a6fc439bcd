"""Prompt sources: a given prompt, a column, a sidecar file, image metadata, or the folder name."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from librehps.choices import PromptFrom, check_choice
from librehps.errors import EmptyPromptError, PromptError, UsageError
from librehps.items.rows import PROMPT_NAMES
from librehps.media.images import open_image
from librehps.media.media import Media
from librehps.media.metadata import prompt_of
from librehps.types import Item


@dataclass(frozen=True)
class PromptFinder:
    """A function that returns an item with its prompt: `prompt` for all items, else by `way`.

    column: the prompt in the manifest, tar or JSON row. sidecar: a .txt or .json file with the same
    stem. metadata: the prompt that the generator wrote into the image. auto: the first of these
    three that exists. folder: the name of the item's folder, with underscores as spaces; the folder
    is then also the item's group.
    """

    prompt: str | None = None
    way: PromptFrom = "auto"

    def __call__(self, item: Item, content: Media) -> Item:
        """Return the item with its prompt; raises PromptError if no prompt is found."""
        if self.prompt is not None:
            return replace(item, prompt=self.prompt)
        if self.way == "folder":
            return _from_folder(item)
        for find in FINDERS[self.way]:
            found = find(item, content)
            if found is not None:
                if not found.strip():
                    raise EmptyPromptError(f"the prompt of {content.name} is empty")
                return replace(item, prompt=found)
        raise PromptError(f"no prompt: {NOT_FOUND[self.way].format(stem=_stem(item))}")


def find_prompts(
    prompt: str | None, prompt_from: PromptFrom | None, has_prompts: bool
) -> PromptFinder:
    """Return the finder for these options; without options it reads the source's own prompts.

    Raises UsageError.
    """
    if prompt is not None and prompt_from is not None:
        raise UsageError("give --prompt or --prompt-from, not both")
    if prompt is not None:
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        return PromptFinder(prompt)
    if prompt_from is not None:
        check_choice(prompt_from, PromptFrom, "prompt_from")
    elif not has_prompts:
        raise UsageError(
            "no prompt was given",
            hint='Use --prompt "..." for all items, or --prompt-from sidecar (a.txt for a.png), '
            "metadata (the prompt in the image file), folder (the folder's name), or auto.",
        )
    return PromptFinder(way=prompt_from or "column")


def _from_column(item: Item, content: Media) -> str | None:
    return item.prompt


def _from_sidecar(item: Item, content: Media) -> str | None:
    if not isinstance(content.media, Path):
        # A tar's items have the text of their sidecar as prompt already.
        return item.prompt
    if not content.media.name:
        return None
    text = _read(content.media.with_suffix(".txt"))
    if text is not None:
        return text.strip()
    file = content.media.with_suffix(".json")
    text = _read(file)
    if text is None:
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"prompt file {file}: invalid JSON: {error}") from error
    names = PROMPT_NAMES if isinstance(fields, dict) else ()
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), None)


def _from_metadata(item: Item, content: Media) -> str | None:
    if (item.kind or content.kind()) != "image" or not content.is_encoded:
        return None
    found = prompt_of(content.data)
    if found is None:
        # Report a damaged image as such, rather than as an image without a prompt.
        open_image(content.data, content.name)
    return found


FINDERS: dict[str, tuple[Callable[[Item, Media], str | None], ...]] = {
    "column": (_from_column,),
    "sidecar": (_from_sidecar,),
    "metadata": (_from_metadata,),
    "auto": (_from_column, _from_sidecar, _from_metadata),
}
NOT_FOUND = {
    "column": "the item's row has no prompt",
    "sidecar": "not found in {stem}.txt or {stem}.json",
    "metadata": "not found in the image's metadata; metadata of videos is not read",
    "auto": "not found in a column, in {stem}.txt or .json, or in the image's metadata",
}


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PromptError(f"prompt file {file} cannot be read: {error}") from error


def _stem(item: Item) -> str:
    is_named = isinstance(item.media, str | Path) and Path(item.media).name
    return str(Path(item.media).with_suffix("")) if is_named else "its"


def _from_folder(item: Item) -> Item:
    if not isinstance(item.media, str | Path):
        raise PromptError("no prompt: the item is not in a folder")
    folder = Path(item.media).absolute().parent
    return replace(item, prompt=folder.name.replace("_", " "), group=str(folder))
