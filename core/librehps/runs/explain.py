"""Explain the scores of media files, one explanation or error for each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import PromptFrom
from librehps.errors import ItemError
from librehps.explain.explanation import Explanation, check_axis, checked_parts
from librehps.files import printable
from librehps.items.files import file_item
from librehps.items.prompts import find_prompts
from librehps.media.media import Media
from librehps.runs.compare import loaded
from librehps.settings import DEFAULT_MODEL
from librehps.storage.url_path import as_path
from librehps.types import Item, media_text

if TYPE_CHECKING:
    from librehps.scorer import LibreHPS


@dataclass(frozen=True)
class Unexplained:
    """An item that cannot be scored, and its error."""

    item: Item
    error: ItemError

    @property
    def media(self) -> str | None:
        """The path or URL of the media."""
        return media_text(self.item.media)

    def record(self) -> dict[str, Any]:
        """Return the error as a dict, with the names that an error row has."""
        error = self.error
        return {
            "id": printable(self.item.id),
            "media": self.media,
            "status": "error",
            "error_type": type(error).__name__,
            "error": printable(str(error)),
        }


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
    """Yield the explanation of each image or video, or its error, in the order of the paths.

    Prompts and `model` as in `librehps.compare`, `axis` and `by` as in `LibreHPS.explain_item`.
    Raises UsageError for a path that is not found, and for an unknown axis or part.
    """
    finder = find_prompts(prompt, prompt_from, False, keep_markup, strip_weights)
    items = [file_item(as_path(path)) for path in paths]
    parts = checked_parts(by)
    scorer = loaded(model)
    check_axis(axis, scorer.axes)
    for item in items:
        try:
            yield scorer.explain_item(finder(item, Media(item.media)), axis, parts)
        except ItemError as error:
            yield Unexplained(item, error)
