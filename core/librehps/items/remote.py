"""Items from files, folders and glob patterns at URLs."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from librehps.errors import UsageError
from librehps.files import printable
from librehps.items.passed_over import PassedOver
from librehps.items.search import Search, nothing_in
from librehps.items.trees import UrlTree
from librehps.media.archived import Remote
from librehps.media.media import kind_by_name
from librehps.paths import start_below
from librehps.storage.at_once import at_once
from librehps.storage.url_path import UrlPath, common_depth
from librehps.types import Item


class RemoteFiles:
    """The items of URLs on one host or in one bucket, as `Files` gives those of local paths.

    Each place is a file, or a folder that was listed. Raises UsageError for a file that is missing
    or given twice.
    """

    has_prompts = False
    container = None

    def __init__(self, places: Sequence[UrlPath | UrlTree], sidecars: bool = False) -> None:
        self.passed_over = PassedOver()
        self._places, self._search = places, Search(self.passed_over, sidecars)
        self._starts = [one.start if isinstance(one, UrlTree) else one for one in places]
        at_once(UrlPath.exists, [one for one in places if isinstance(one, UrlPath)])
        if missing := [str(one) for one in places if isinstance(one, UrlPath) and not one.exists()]:
            raise UsageError(f"no such file or folder: {', '.join(missing)}")
        _check_distinct(self._starts)
        folders = [one.start if isinstance(one, UrlTree) else one.parent for one in places]
        self._depth = common_depth(folders)

    def __iter__(self) -> Iterator[Item]:
        for place in self._places:
            if isinstance(place, UrlPath):
                kind = kind_by_name(place.name)
                yield Item(self._id(place) or place.name, Remote(place.url), None, kind)
                continue
            start = start_below(self._id(place.start) or ".")
            for above, names in place.folders(self.passed_over):
                # A name in a bucket may be empty, which a path would lose.
                inside = "".join(f"{part}/" for part in above)
                for name, found in self._search.media(above, names, place.pattern):
                    media = Remote(place.start.url_of(inside + name))
                    yield Item(start + printable(inside + name), media, None, found)

    def nothing(self) -> UsageError:
        """Return the error for URLs without an item."""
        return nothing_in(self._starts, self.passed_over)

    def _id(self, path: UrlPath) -> str:
        return printable("/".join(path.parts[self._depth :]))


def _check_distinct(paths: Sequence[UrlPath]) -> None:
    """Raise UsageError if a URL is given twice, or lies inside another."""
    places = sorted((path.parts, path.url, path) for path in paths)
    for (one, url, _), (other, other_url, path) in pairwise(places):
        if url == other_url or (len(one) < len(other) and other[: len(one)] == one):
            raise UsageError(f"{path} is given twice")
