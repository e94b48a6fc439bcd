"""List the prompts of items, with their sources, without loading a model."""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from librehps.choices import PromptFrom
from librehps.errors import ItemError
from librehps.files import printable
from librehps.media.remarks import notes_of
from librehps.runs.options import SourceKeywords, source_options
from librehps.runs.request import RunRequest, as_paths
from librehps.types import Item

if TYPE_CHECKING:
    from librehps.items.prompts import PromptFinder
    from librehps.items.source import Source
    from librehps.media.media import TagReader
    from librehps.media.videos import VideoReaders
    from librehps.runs.run import Paths

# Reading is mostly waiting where files are on a network.
WORKERS, AHEAD_ITEMS, VIDEO_READERS = 8, 256, 2


@dataclass(frozen=True)
class ListedPrompt:
    """An item with its prompt and the prompt's source, or with the error in place of both."""

    item: Item
    source: str | None = None
    error: ItemError | None = None
    remarks: frozenset[str] = frozenset()

    @property
    def reason(self) -> str | None:
        """The error without the item's name and values, by which errors are counted."""
        if self.error is None:
            return None
        path = Path(str(self.item.media))
        text = str(self.error)
        if path.name:
            text = _without(text, str(path), "FILE")
            for suffix in (".txt", ".json"):
                text = _without(text, str(path.with_suffix(suffix)), f"FILE{suffix}")
        return text.partition(" (")[0] if text.endswith(")") else text

    def record(self) -> dict[str, Any]:
        """Return the row as a flat dict."""
        error = self.error
        prompt = None if error is not None else self.item.prompt
        return {
            "id": printable(self.item.id),
            "prompt": None if prompt is None else printable(prompt),
            "source": self.source,
            "error_type": None if error is None else type(error).__name__,
            "error": None if error is None else printable(str(error)),
        }


def _without(text: str, name: str, stand_in: str) -> str:
    """Return the text with another word for a name, other than where it is a part of a word."""
    kept, *parts = text.split(name)
    for part in parts:
        is_part = kept[-1:].isalnum() or part[:1].isalnum()
        kept += (name if is_part else stand_in) + part
    return kept


class _LazyReaders:
    """Readers of the tags of clips, which are imported and started for the first clip."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: VideoReaders | None = None

    def tags(self, path: Path) -> dict[str, str]:
        with self._lock:
            if self._readers is None:
                from librehps.media.videos import VideoReaders

                self._readers = VideoReaders(count=VIDEO_READERS)
        return self._readers.tags(path)

    def close(self) -> None:
        if self._readers is not None:
            self._readers.close()


@dataclass
class PromptList:
    """An iterator over the prompts of a source, for one use; counts the rows that it yields.

    `sources` counts prompts by source, `reasons` items without a prompt by reason, `remarks`
    prompts from which markup was removed.
    """

    source: "Source"
    finder: "PromptFinder"
    limit: int | None = None
    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)

    @property
    def found(self) -> int:
        """The number of items with a prompt so far."""
        return self.sources.total()

    @property
    def failed(self) -> int:
        """The number of items without a prompt so far."""
        return self.reasons.total()

    def notes(self) -> list[str]:
        """Return a sentence for each kind of skipped file, and of markup that was removed."""
        return [*self.source.passed_over.notes(), *notes_of(self.remarks)]

    def __iter__(self) -> Iterator[ListedPrompt]:
        pool = ThreadPoolExecutor(WORKERS)
        waiting: deque[Future[ListedPrompt]] = deque()
        with closing(_LazyReaders()) as readers:
            try:
                for item in islice(self.source.items(), self.limit):
                    waiting.append(pool.submit(self._listed, item, readers))
                    if len(waiting) > AHEAD_ITEMS:
                        yield self._counted(waiting.popleft().result())
                while waiting:
                    yield self._counted(waiting.popleft().result())
            finally:
                pool.shutdown(cancel_futures=True)

    def _listed(self, item: Item, readers: "TagReader") -> ListedPrompt:
        from librehps.media.media import READ_ERRORS, Media, unreadable

        content = Media(item.media, readers)
        try:
            if item.problem is not None:
                raise item.problem
            found = self.finder.find(item, content)
        except ItemError as error:
            return ListedPrompt(item, error=error)
        except READ_ERRORS as error:
            return ListedPrompt(item, error=unreadable(content.name, error))
        listed = replace(item, prompt=found.text)
        return ListedPrompt(listed, found.source, remarks=frozenset(content.remarks))

    def _counted(self, row: ListedPrompt) -> ListedPrompt:
        if row.source is not None:
            self.sources[row.source] += 1
            self.remarks.update(row.remarks)
        elif row.reason is not None:
            self.reasons[row.reason] += 1
        return row


def list_prompts(
    paths: "Paths",
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    limit: int | None = None,
    **source: Unpack[SourceKeywords],
) -> PromptList:
    """Return the prompts that `score_to` would score the items of the paths against.

    Arguments as in `score_to`; `limit` ends the list after this many items. Without `prompt` and
    `prompt_from`, items of a source without a prompt column are listed as with `auto`.
    """
    request = RunRequest(
        as_paths(paths),
        source_options(source),
        prompt,
        prompt_from,
        keep_markup=keep_markup,
        strip_weights=strip_weights,
    )
    searched = replace(request, prompt_from=prompt_from or "auto")
    opened = searched.open_source()
    if prompt is None and not opened.has_prompts:
        request = searched
    return PromptList(opened, request.prompt_finder(opened.has_prompts), limit)
