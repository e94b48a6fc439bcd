"""Prompts that generators write into the metadata of images and clips.

`READERS` says which text of a file goes to which reader. Comparisons of places ignore case.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import BinaryIO

from librehps.errors import PromptError
from librehps.media.metadata import tools
from librehps.media.metadata.image_texts import format_of, image_texts
from librehps.media.metadata.png import has_alpha
from librehps.media.metadata.stealth import stealth_text
from librehps.media.metadata.texts import (
    MAX_TEXT_CHARS,
    Embedded,
    Found,
    Origin,
    checked,
    missing,
    too_long,
)

Reader = Callable[[tools.Context], str | None]

# A text of many programs, of which the content alone tells which one wrote it.
_ANY: tuple[tuple[str, Reader], ...] = (
    ("swarmui", tools.swarmui),
    ("civitai", tools.civitai),
    ("comfyui", tools.comfyui),
    ("novelai", tools.novelai),
    ("fooocus", tools.fooocus),
    ("ruinedfooocus", tools.ruined_fooocus),
    ("a1111", tools.a1111),
    ("json", tools.json_prompt),
)
# Rows of place, source and reader; the first row that has a prompt counts.
READERS: tuple[tuple[str, str, Reader], ...] = (
    *(("parameters", source, reader) for source, reader in _ANY),
    ("invokeai_metadata", "invokeai", tools.invokeai),
    ("sd-metadata", "invokeai", tools.invokeai_2),
    ("dream", "invokeai", tools.dream),
    ("prompt", "comfyui", tools.comfyui),
    ("prompt", "plain", tools.plain),
    *(("comment", source, reader) for source, reader in _ANY),
    *(("user comment", source, reader) for source, reader in _ANY),
    *(("metadata", source, reader) for source, reader in _ANY),
    ("description", "midjourney", tools.midjourney),
    *(("description", source, reader) for source, reader in _ANY),
    ("stealth", "novelai", tools.novelai),
    *(("stealth", source, reader) for source, reader in _ANY),
)
# Errors for texts that no reader knows.
REFUSALS: tuple[tuple[str, str, Reader], ...] = (
    ("parameters", "", tools.unknown_parameters),
    ("workflow", "", tools.only_workflow),
)
PLACES = frozenset(place for place, _, _ in (*READERS, *REFUSALS))


def prompt_of_image(file: BinaryIO, stem: str = "") -> Found | None:
    """Return the prompt in the metadata of an image file; None if there is no such metadata.

    `stem` is the file's name without suffix, by which one of several savers may be told. Data that
    are not an image give None. Raises PromptError if the metadata do not tell exactly one prompt.
    """
    image_format = format_of(file)
    if not image_format:
        return None
    origin = Origin(stem, image_format)
    found = prompt_in_texts(image_texts(file, image_format, PLACES), origin)
    if found is None and (image_format == "webp" or (image_format == "png" and has_alpha(file))):
        hidden = stealth_text(file)
        return prompt_in_texts([Embedded("stealth", hidden)], origin) if hidden else None
    return found


def prompt_of_clip(tags: Mapping[str, str], stem: str = "") -> Found | None:
    """Return the prompt in the tags of a clip's container; None or errors as for an image."""
    texts = [Embedded(name.lower(), text) for name, text in tags.items()]
    return prompt_in_texts(texts, Origin(stem, "video"))


def prompt_in_texts(texts: Sequence[Embedded], origin: Origin) -> Found | None:
    """Return the prompt of the first reader that knows one of the texts; raises PromptError."""
    first: PromptError | None = None
    for source, prompt in _prompts(READERS, texts, origin):
        # A saver writes a placeholder where the graph next to it may have the prompt.
        if (problem := missing(prompt)) is None:
            return Found(checked(prompt), source)
        first = first or problem
    if first is not None:
        raise first
    any(_prompts(REFUSALS, texts, origin))
    return None


def _prompts(
    rows: Sequence[tuple[str, str, Reader]], texts: Sequence[Embedded], origin: Origin
) -> Iterator[tuple[str, str]]:
    others = {text.place: text.text for text in texts}
    for place, same in groupby(rows, key=lambda row: row[0]):
        # Shared by the readers of a place, so that a text is parsed once.
        contexts = [tools.Context(*text, others, origin) for text in texts if text.place == place]
        for _, source, reader in same:
            for context in contexts:
                if len(context.text) > MAX_TEXT_CHARS:
                    raise too_long(Embedded(place, context.text))
                prompt = reader(context)
                if prompt is not None:
                    yield source, prompt
