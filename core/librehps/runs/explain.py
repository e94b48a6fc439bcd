"""Explain the scores of media, one explanation or error for each."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import PromptFrom
from librehps.errors import ItemError
from librehps.explain.explanation import Explanation, check_axis, checked_parts
from librehps.explain.unexplained import Unexplained
from librehps.items.prompts import find_prompts
from librehps.items.source import Source
from librehps.media.media import Media
from librehps.runs.compare import loaded
from librehps.runs.options import SourceKeywords, source_options
from librehps.settings import DEFAULT_MODEL
from librehps.types import Item, media_text

if TYPE_CHECKING:
    from librehps.items.prompts import PromptFinder
    from librehps.scorer import LibreHPS

log = logging.getLogger("librehps")


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
    watch: Callable[[Iterable[Any], int], Iterable[Any]] = lambda rows, total: rows,
    **source: Unpack[SourceKeywords],
) -> Iterator[Explanation | Unexplained]:
    """Return an iterator of the explanation of each image or video, or its error, in order.

    paths: files, folders, globs, manifests, tars; `source`, prompts and `model` as in
    `librehps.score_to`, `axis` and `by` as in `LibreHPS.explain_item`. watch: a progress hook
    that takes (rows, total) and yields the rows. Raises UsageError for a path that is not found,
    and for an unknown axis or part.
    """
    options = source_options(source).for_prompts(prompt, prompt_from)
    opened = Source([str(path) for path in paths], options)
    opened.check_prompts(prompt, prompt_from)
    finder = find_prompts(prompt, prompt_from, opened.has_prompts, keep_markup, strip_weights)
    parts = checked_parts(by)
    items = [_named(item) for item in opened.items()]
    for note in opened.passed_over.notes():
        log.warning(note)
    scorer = loaded(model)
    check_axis(axis, scorer.axes)
    rows = (_explained(item, scorer, finder, axis, parts) for item in items)
    return iter(watch(rows, len(items)))


def _named(item: Item) -> Item:
    """Return the item with its path as id, by which a report links to its explanation."""
    return replace(item, id=media_text(item.media) or item.id)


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
