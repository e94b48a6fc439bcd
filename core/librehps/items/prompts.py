"""Prompt sources: a given prompt, a column, a sidecar file, image metadata, or the folder name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, cast

from librehps.choices import PromptFrom, check_choice
from librehps.errors import EmptyPromptError, MediaError, PromptError, UsageError
from librehps.items.column_names import no_prompt
from librehps.items.sidecars import sidecar_prompt
from librehps.markup import without_tags, without_weights
from librehps.media.archived import Remote, TarMember
from librehps.media.containers import HEAD_BYTES, container_of, read_bytes
from librehps.media.lazy import Lazy
from librehps.media.media import Media
from librehps.media.metadata import prompt_of_clip, prompt_of_image
from librehps.media.metadata.infotext import prompt_of_caption
from librehps.media.metadata.texts import Found
from librehps.media.remarks import TAGS, WEIGHTS
from librehps.storage.url_path import AnyPath, UrlPath
from librehps.types import Item

VHS_NODE = b"VHS_VideoCombine"
GIVEN, FOLDER = "option", "folder"


@dataclass(frozen=True)
class PromptFinder:
    """A function that returns an item with its prompt: `prompt` for all items, else by `way`.

    column: the prompt in the manifest, tar or JSON row. sidecar: a .txt or .json file with the same
    stem. metadata: the prompt that the generator wrote into the image or clip. auto: the first of
    these three that exists. folder: the name of the item's folder, with underscores as spaces; the
    folder is then also the item's group. Tags such as `<lora:name:0.8>` are removed unless
    `keep_markup`; weights such as `(red:1.3)` are removed with `strip_weights`. The remarks of the
    item's media then say so.
    """

    prompt: str | None = None
    way: PromptFrom = "auto"
    keep_markup: bool = False
    strip_weights: bool = False

    def __call__(self, item: Item, content: Media) -> Item:
        """Return the item with its prompt; raises PromptError if no prompt is found."""
        if self._is_scored_as_given(item):
            return item
        text = self.find(item, content).text
        if self.prompt is None and self.way == FOLDER:
            return replace(item, prompt=text, group=str(_folder(item)))
        return item if text == item.prompt else item.with_prompt(text)

    def find(self, item: Item, content: Media) -> Found:
        """Return the item's prompt and its source; raises PromptError if no prompt is found."""
        found = self._find(item, content)
        text = found.text
        if "\0" in text:
            raise PromptError(
                f"the prompt of {content.name} has NUL characters: expected UTF-8 text, perhaps "
                "got UTF-16"
            )
        scored, removed = self._without_markup(text)
        if removed:
            content.remarks.update(removed)
        if not scored.strip():
            what = "empty without its markup" if removed else "empty"
            raise EmptyPromptError(f"the prompt of {content.name} is {what}")
        return found if scored == text else Found(scored, found.source)

    @property
    def scored_prompt(self) -> str | None:
        """The prompt of all items, as it is scored; None where each item has its own."""
        return None if self.prompt is None else self._without_markup(self.prompt)[0]

    def are_as_given(self, items: Sequence[Item]) -> bool:
        """Return whether all items, which are local files, are known to have the scored prompt."""
        texts = [item.prompt for item in items]
        if not self._takes_columns or set(map(type, texts)) != {str}:
            return False
        prompts = cast("list[str]", texts)
        joined = "".join(prompts)
        # The rule of `_is_scored_as_given`, for all at once.
        return not ("<" in joined or "\0" in joined) and all(map(str.strip, prompts))

    def _is_scored_as_given(self, item: Item) -> bool:
        """Return whether `find` returns the item's prompt: a quick check, false for some others."""
        text = item.prompt
        return (
            text is not None
            and self._takes_columns
            and "<" not in text
            and "\0" not in text
            and type(item.media) is not TarMember
            and text != ""
            and not text.isspace()
        )

    @Lazy
    def _takes_columns(self) -> bool:
        is_column = self.prompt is None and self.way in ("column", "auto")
        return is_column and not self.strip_weights

    def _find(self, item: Item, content: Media) -> Found:
        if self.prompt is not None:
            return Found(self.prompt, GIVEN)
        if self.way == FOLDER:
            return Found(_folder(item).name.replace("_", " "), FOLDER)
        for find in FINDERS[self.way]:
            found = find(item, content)
            if found is not None:
                return found
        raise PromptError(f"no prompt: {NOT_FOUND[self.way].format(stem=_stem(item))}")

    def _without_markup(self, text: str) -> tuple[str, list[str]]:
        """Return the text that is scored, and which kinds of markup were removed."""
        plain = text if self.keep_markup else without_tags(text)
        light = without_weights(plain) if self.strip_weights else plain
        if light is text:
            return text, []
        return light, [TAGS] * (plain != text) + [WEIGHTS] * (light != plain)


def find_prompts(
    prompt: str | None,
    prompt_from: PromptFrom | None,
    has_prompts: bool,
    keep_markup: bool = False,
    strip_weights: bool = False,
) -> PromptFinder:
    """Return the finder for these options; without options it reads the source's own prompts.

    Raises UsageError.
    """
    if prompt is not None and prompt_from is not None:
        raise UsageError("give --prompt or --prompt-from, not both")
    if prompt is not None and not prompt.strip():
        raise UsageError("the prompt is empty")
    if prompt_from is not None:
        check_choice(prompt_from, PromptFrom, "prompt_from")
    elif prompt is None and not has_prompts:
        raise no_prompt()
    return PromptFinder(prompt, prompt_from or "column", keep_markup, strip_weights)


def _from_column(item: Item, content: Media) -> Found | None:
    if item.prompt is None:
        return None
    if type(item.media) is TarMember:
        # The text of a file in the tar next to the media.
        return Found(prompt_of_caption(item.prompt), "sidecar")
    return Found(item.prompt, "column")


def _from_sidecar(item: Item, content: Media) -> Found | None:
    path = _path(content.media)
    if path is None:
        # A tar's items have the text of their sidecar as prompt already.
        return _from_column(item, content)
    text = sidecar_prompt(path)
    return None if text is None else Found(text, "sidecar")


def _from_metadata(item: Item, content: Media) -> Found | None:
    if not content.is_encoded:
        return None
    stem = PurePosixPath(content.file_name).stem
    with content.open() as file:
        is_clip = container_of(file.read(HEAD_BYTES)) is not None
        found = None if is_clip else prompt_of_image(file, stem)
    if is_clip:
        return prompt_of_clip(content.tags(), stem) or _from_first_frame(content)
    if found is None:
        _check_image(content)
    return found


def _check_image(content: Media) -> None:
    """Raise MediaError for a damaged image, rather than report an image without a prompt."""
    # Imported here: most files have a prompt, and need no torch to read it.
    from librehps.media.image_formats import open_image

    open_image(content.data, content.name)


def _from_first_frame(content: Media) -> Found | None:
    """Return the prompt in x.png next to x.mp4, which ComfyUI's VideoHelperSuite leaves there."""
    clip = _path(content.media)
    if clip is None:
        return None
    picture = clip.with_name(clip.stem.removesuffix("-audio") + ".png")
    try:
        data = read_bytes(picture) if isinstance(picture, Path) else Remote(picture.url).read()
    except MediaError:
        # A picture that is missing or cannot be read tells nothing of the clip.
        return None
    return prompt_of_image(BytesIO(data), clip.stem) if VHS_NODE in data else None


FINDERS: dict[str, tuple[Callable[[Item, Media], Found | None], ...]] = {
    "column": (_from_column,),
    "sidecar": (_from_sidecar,),
    "metadata": (_from_metadata,),
    "auto": (_from_column, _from_sidecar, _from_metadata),
}
NOT_FOUND = {
    "column": "the item's row has no prompt",
    "sidecar": "not found in {stem}.txt or {stem}.json",
    "metadata": "not found in the file's metadata",
    "auto": "not found in a column, in {stem}.txt or .json, or in the file's metadata",
}


def _path(media: Any) -> AnyPath | None:
    """Return the path or URL of a file in a folder; None for members of archives and bytes."""
    if isinstance(media, Remote):
        url = UrlPath(media.url)
        return None if url.is_chain else url
    return Path(media) if isinstance(media, str | Path) else None


def _stem(item: Item) -> str:
    path = _path(item.media)
    return str(path.with_suffix("")) if path is not None and path.name else "its"


def _folder(item: Item) -> AnyPath:
    path = _path(item.media)
    if path is None:
        raise PromptError("no prompt: the item is not in a folder")
    return path.absolute().parent
