"""List the prompts of items, with their sources, without loading a model."""

import re
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
from librehps.errors import ItemError, MediaError
from librehps.files import printable
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
_DETAIL = re.compile(r" \(.*\)$", re.DOTALL)


@dataclass(frozen=True)
class ListedPrompt:
    """An item with its prompt and the prompt's source, or with the error in place of both."""

    item: Item
    source: str | None = None
    error: ItemError | None = None

    @property
    def reason(self) -> str | None:
        """The error without the item's name and values, by which errors are counted."""
        if self.error is None:
            return None
        name = str(self.item.media)
        stem = str(Path(name).with_suffix("")) if Path(name).name else name
        text = str(self.error).replace(name, "FILE").replace(stem, "FILE")
        return _DETAIL.sub("", text)

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

    `sources` counts prompts by source, `reasons` items without a prompt by reason.
    """

    source: "Source"
    finder: "PromptFinder"
    limit: int | None = None
    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def found(self) -> int:
        """The number of items with a prompt so far."""
        return self.sources.total()

    @property
    def failed(self) -> int:
        """The number of items without a prompt so far."""
        return self.reasons.total()

    def __iter__(self) -> Iterator[ListedPrompt]:
        with closing(_LazyReaders()) as readers, ThreadPoolExecutor(WORKERS) as pool:
            waiting: deque[Future[ListedPrompt]] = deque()
            for item in islice(self.source.items(), self.limit):
                waiting.append(pool.submit(self._listed, item, readers))
                if len(waiting) > AHEAD_ITEMS:
                    yield self._counted(waiting.popleft().result())
            while waiting:
                yield self._counted(waiting.popleft().result())

    def _listed(self, item: Item, readers: "TagReader") -> ListedPrompt:
        from librehps.media.media import Media

        content = Media(item.media, readers)
        try:
            if item.problem is not None:
                raise item.problem
            found = self.finder.find(item, content)
        except ItemError as error:
            return ListedPrompt(item, error=error)
        except (ValueError, OSError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            return ListedPrompt(item, error=MediaError(f"{content.name} cannot be read: {reason}"))
        return ListedPrompt(replace(item, prompt=found.text), found.source)

    def _counted(self, row: ListedPrompt) -> ListedPrompt:
        if row.source is not None:
            self.sources[row.source] += 1
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
