"""The choice of media among the files of a folder; the other files are counted."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from librehps.errors import UsageError
from librehps.items.passed_over import HIDDEN, UNMATCHED, PassedOver
from librehps.media.containers import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from librehps.media.media import kind_by_name
from librehps.paths import matches
from librehps.types import Kind

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


class Search:
    """A search of folders for media, which adds the other files to `passed_over`.

    With `sidecars` not the .txt and .json files that are read as prompts.
    """

    def __init__(self, passed_over: PassedOver, sidecars: bool) -> None:
        self._passed_over, self._sidecars = passed_over, sidecars

    def media(
        self, above: tuple[str, ...], names: Sequence[str], pattern: tuple[str, ...]
    ) -> Iterator[tuple[str, Kind]]:
        """Yield (name, kind) of the media in a folder; `above` are the folders it lies in."""
        others = []
        for name in names:
            kind = kind_by_name(name)
            if name.startswith("."):
                self._passed_over.add(name, HIDDEN)
            elif kind is None:
                others.append(name)
            elif matches((*above, name), pattern):
                yield name, kind
            else:
                self._passed_over.add(name, UNMATCHED)
        for name in set(others) - self._prompts(names, others):
            self._passed_over.add(name)

    def _prompts(self, names: Sequence[str], others: Sequence[str]) -> set[str]:
        """Return the files that are read as prompts of others: `a.txt`, else `a.json`."""
        if not self._sidecars:
            return set()
        stems = {PurePath(name).stem for name in names if kind_by_name(name)}
        texts = {name for name in others if name.endswith(".txt") and name[:-4] in stems}
        stems -= {name[:-4] for name in texts}
        return texts | {name for name in others if name.endswith(".json") and name[:-5] in stems}


def nothing_in(paths: Sequence[object], passed_over: PassedOver) -> UsageError:
    """Return the error for paths without an item."""
    notes = [note.removeprefix("warning: ") for note in passed_over.notes()]
    return UsageError(
        f"nothing to score in {', '.join(map(str, paths))}: {'; '.join(notes) or 'no files'}",
        hint=f"Supported suffixes: {' '.join(sorted(SUFFIXES))}.",
    )
