"""Items from remote files and folders, read by the installed fsspec drivers."""

from collections.abc import Iterator
from typing import Any

from librehps.errors import UsageError
from librehps.items.passed_over import PassedOver
from librehps.media.archived import Remote, driver_errors
from librehps.media.media import kind_by_name
from librehps.types import Item


class RemoteFiles:
    """The items below a URL, sorted by path; a URL of one file is one item."""

    has_prompts = False

    def __init__(self, url: str) -> None:
        self._url = url
        self.passed_over, self.container = PassedOver(), None

    def __iter__(self) -> Iterator[Item]:
        system, root, places = self._found()
        for place in places:
            kind = kind_by_name(place)
            if kind is None and len(places) > 1:
                self.passed_over.add(place)
                continue
            name = place.removeprefix(root).lstrip("/") or place.rpartition("/")[2]
            yield Item(name, Remote(_url(system, place, self._url)), None, kind)

    def _found(self) -> tuple[Any, str, list[str]]:
        import fsspec

        try:
            system, root = fsspec.core.url_to_fs(self._url)
            places = [self._url]
            if "::" not in self._url and system.isdir(root):
                places = sorted(system.find(root))
                return system, root, places
            if not system.exists(root):
                raise UsageError(f"{self._url} does not exist")
        except driver_errors() as error:
            raise UsageError(f"{self._url} cannot be read: {error}") from error
        return system, self._url, places


def _url(system: Any, place: str, asked: str) -> str:
    return asked if place == asked else str(system.unstrip_protocol(place))
