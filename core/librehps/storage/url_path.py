"""URLs with the methods of `pathlib.Path` that readers of files call."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote

from librehps.errors import StorageNotFoundError
from librehps.storage.places import is_remote, is_web, name_of, shown
from librehps.storage.store import Stat, find_names, opened, read, stat

# Characters that a path of a web URL may have as they are.
WEB_SAFE = "/:@!$&'()*+,;=~"
# The number of parts that name a repository: hf://datasets/USER/NAME, and hf://USER/NAME.
HUB_PARTS = {"hf://datasets": 3, "hf://spaces": 3, "hf://buckets": 3}


class FileStat(NamedTuple):
    """The size of a file in bytes, under the name that `os.stat` has for it."""

    st_size: int


class UrlPath:
    """A file or folder at a URL; `str` gives the URL without secrets, `url` the whole URL.

    The first of `parts` is the scheme with the host or bucket, the others are names. A chain of
    URLs, as zip://a.png::s3://bucket/a.zip, is one file without folders. What kind of thing is
    there is asked once.
    """

    def __init__(self, url: str, found: Stat | None = None) -> None:
        self.url, self._found, self._is_missing = url, found, False
        self._is_web, self._place, self._query = is_web(url), url, ""
        if self._is_web:
            self._place, mark, query = url.partition("?")
            self._query = mark + query

    def __str__(self) -> str:
        return shown(self.url)

    def __repr__(self) -> str:
        return f"UrlPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UrlPath) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __lt__(self, other: "UrlPath") -> bool:
        return self.parts < other.parts

    @property
    def is_chain(self) -> bool:
        """True for a chain of URLs."""
        return "::" in self.url

    @property
    def parts(self) -> tuple[str, ...]:
        if self.is_chain:
            return (self.url,)
        scheme, mark, rest = self._place.partition("://")
        host, *names = rest.rstrip("/").split("/")
        return (f"{scheme}{mark}{host}", *(map(unquote, names) if self._is_web else names))

    @property
    def name(self) -> str:
        """The last part of the path; of a chain, that of its first URL."""
        if self.is_chain:
            return name_of(self.url)
        return self.parts[-1] if len(self.parts) > 1 else ""

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def origin(self) -> str:
        """The scheme with the host, bucket or hub repository; the whole URL for a chain."""
        return "/".join(self.parts[: self._origin_depth])

    @property
    def _origin_depth(self) -> int:
        first = self.parts[0]
        return HUB_PARTS.get(first, 2) if first.startswith("hf://") else 1

    @property
    def parent(self) -> "UrlPath":
        return self.cut(max(1, len(self.parts) - 1))

    def cut(self, count: int) -> "UrlPath":
        """Return the folder or file that the first `count` parts name."""
        if self.is_chain or count >= len(self.parts):
            return self
        names = self._place.rstrip("/").split("/")
        removed = len(self.parts) - count
        return UrlPath("/".join(names[: len(names) - removed]) + self._query)

    def __truediv__(self, name: str) -> "UrlPath":
        return UrlPath(self.url_of(name))

    def url_of(self, name: str) -> str:
        """Return the URL of a file below this folder, by its relative path."""
        text = quote(name, safe=WEB_SAFE) if self._is_web else name
        return f"{self._place.rstrip('/')}/{text}{self._query}"

    def joined(self, name: str) -> "UrlPath | None":
        """Return the file at a normalised relative path; None if `..` leads out of the origin."""
        steps = name.split("/")
        depth = len(self.parts) - steps.count("..")
        if depth < self._origin_depth:
            return None
        return self.cut(depth) / "/".join(step for step in steps if step != "..")

    def with_name(self, name: str) -> "UrlPath":
        return self.parent / name

    def with_suffix(self, suffix: str) -> "UrlPath":
        return self.with_name(self.stem + suffix)

    def absolute(self) -> "UrlPath":
        return self

    def exists(self) -> bool:
        return self._stat() is not None

    def is_file(self) -> bool:
        found = self._stat()
        return found is not None and not found.is_folder

    def is_dir(self) -> bool:
        if self._is_web:
            return self._place.endswith("/")
        found = self._stat()
        return found is not None and found.is_folder

    def stat(self) -> FileStat:
        """Return the size; raises StorageError."""
        if self._found is None or self._found.size is None:
            self._found = stat(self.url)
        return FileStat(self._found.size or 0)

    def names(self, max_depth: int | None = None) -> list[str]:
        """Return the relative paths of the files below this folder; raises StorageError."""
        folder = f"{self._place.rstrip('/')}/{self._query}" if self._is_web else self.url
        return find_names(folder, max_depth)

    @property
    def has_ranges(self) -> bool:
        """True if parts of the file can be read; false for a web server that only sends it whole.

        Buckets are not asked. Raises StorageError.
        """
        if not self._is_web:
            return True
        if self._found is None or self._found.size is None:
            self._found = stat(self.url)
        return self._found.has_ranges

    def iterdir(self) -> list["UrlPath"]:
        """Return the files and folders in this folder; raises StorageError."""
        first = dict.fromkeys(name.split("/")[0] for name in self.names(max_depth=2))
        return [self / name for name in first]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file for reading bytes; its errors, also those of reads, are StorageErrors."""
        return opened(self.url)

    def read_bytes(self) -> bytes:
        return read(self.url)

    def _stat(self) -> Stat | None:
        """Return what is at the URL, None if nothing is."""
        if self._found is None and not self._is_missing:
            try:
                self._found = stat(self.url)
            except StorageNotFoundError:
                self._is_missing = True
        return self._found


AnyPath = Path | UrlPath


def as_path(place: "str | AnyPath") -> AnyPath:
    """Return the path of a local place, or the UrlPath of a URL."""
    if isinstance(place, str):
        return UrlPath(place) if is_remote(place) else Path(place)
    return place


def address(path: AnyPath) -> str:
    """Return the text that `as_path` makes the same path of: for a URL with its secrets."""
    return path.url if isinstance(path, UrlPath) else str(path)


def common_depth(paths: Sequence[UrlPath]) -> int:
    """Return how many first parts all URLs share."""
    shortest, *others = sorted((path.parts for path in paths), key=len)
    for at, part in enumerate(shortest):
        if any(parts[at] != part for parts in others):
            return at
    return len(shortest)
