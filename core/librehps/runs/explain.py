"""Explain the scores of media files, one explanation or error for each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from librehps.choices import PromptFrom
from librehps.errors import ItemError
from librehps.explain.explanation import Explanation, check_axis, checked_parts
from librehps.explain.unexplained import Unexplained
from librehps.items.files import file_item
from librehps.items.prompts import find_prompts
from librehps.media.media import Media
from librehps.runs.compare import loaded
from librehps.settings import DEFAULT_MODEL
from librehps.storage.url_path import as_path
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.items.prompts import PromptFinder
    from librehps.scorer import LibreHPS


def explain_media(
    paths: Sequence[str | Path],
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    model: "LibreHPS | str | Path | Callable[[], LibreHPS]" = DEFAULT_MODEL,
    axis: str | None = None,
    by: str | Sequence[str] | None = None,
) -> Iterator[Explanation | Unexplained]:
    """Return an iterator of the explanation of each image or video, or its error, in order.

    Prompts and `model` as in `librehps.compare`, `axis` and `by` as in `LibreHPS.explain_item`.
    Raises UsageError for a path that is not found, and for an unknown axis or part.
    """
    finder = find_prompts(prompt, prompt_from, False, keep_markup, strip_weights)
    items = [file_item(as_path(path)) for path in paths]
    parts = checked_parts(by)
    scorer = loaded(model)
    check_axis(axis, scorer.axes)
    return (_explained(item, scorer, finder, axis, parts) for item in items)


def _explained(
    item: Item,
    scorer: "LibreHPS",
    finder: "PromptFinder",
    axis: str | None,
    parts: Sequence[str] | None,
) -> Explanation | Unexplained:
    try:
        return scorer.explain_item(finder(item, Media(item.media)), axis, parts)
    except ItemError as error:
        return Unexplained(item, error)
