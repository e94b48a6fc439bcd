"""URLs with the methods of `pathlib.Path` that readers of files call."""

import posixpath
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote

from librehps.errors import StorageNotFoundError
from librehps.paths import GLOB_CHARS, WINDOWS_ROOT, matches
from librehps.storage.places import is_remote, is_web, name_of, shown
from librehps.storage.store import Stat, entries, find_below, opened, read, stat

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

    def below(self, value: str) -> "UrlPath | None":
        r"""Return the file at a relative path in a table, which may have `..` and `\`.

        None for an absolute path, and for one that leads out of the bucket or host.
        """
        if value.startswith(("/", "\\")) or WINDOWS_ROOT.match(value):
            return None
        steps = posixpath.normpath(value.replace("\\", "/")).split("/")
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
        return FileStat(self._facts().size or 0)

    @property
    def stamp(self) -> str:
        """A text that changes with the file, empty if the server tells none."""
        return self._facts().stamp

    def find(
        self, max_depth: int | None, is_kept: Callable[[str], bool]
    ) -> tuple[list[str], dict[str, Stat]]:
        """Return the relative paths of the files below this folder, and facts of those kept."""
        return find_below(self._folder, max_depth, is_kept)

    @property
    def _folder(self) -> str:
        return f"{self._place.rstrip('/')}/{self._query}" if self._is_web else self.url

    @property
    def has_ranges(self) -> bool:
        """True if parts of the file can be read; false for a web server that only sends it whole.

        Buckets are not asked. Raises StorageError.
        """
        return not self._is_web or self._facts().has_ranges

    def iterdir(self) -> list["UrlPath"]:
        """Return the files and folders in this folder; raises StorageError."""
        found = entries(self._folder)
        return [UrlPath(self.url_of(name), known) for name, known in found.items()]

    def glob(self) -> list["UrlPath"]:
        """Return the files and folders that this pattern matches, as `glob.glob` does."""
        start, pattern = self.split_glob()
        is_deep = "**" in pattern
        names, _ = start.find(None if is_deep else len(pattern) + 1, lambda name: False)
        found = set()
        for name in names:
            parts = tuple(name.split("/"))
            ends = range(1, len(parts) + 1) if is_deep else [len(pattern)][: len(parts)]
            for end in ends:
                if matches(parts[:end], pattern) and not any(
                    p.startswith(".") for p in parts[:end]
                ):
                    found.add((parts[:end], end < len(parts)))
        return [
            UrlPath(url := start.url_of("/".join(parts)), Stat(url, None, "", is_folder=is_folder))
            for parts, is_folder in sorted(found)
        ]

    def is_pattern(self) -> bool:
        """Return whether the URL is a glob pattern, and not the name of a file."""
        has_wildcard = any(not GLOB_CHARS.isdisjoint(part) for part in self.parts[1:])
        return has_wildcard and not self.exists()

    def split_glob(self) -> tuple["UrlPath", tuple[str, ...]]:
        """Return the folder above the first wildcard, and the parts of the pattern below it."""
        parts = self.parts
        for at, part in enumerate(parts[1:], 1):
            # A folder may have brackets in its name.
            if not GLOB_CHARS.isdisjoint(part) and not self.cut(at + 1).exists():
                return self.cut(at), parts[at:]
        return self, ()

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file for reading bytes; its errors, also those of reads, are StorageErrors."""
        return opened(self.url, self._found if self._is_known else None)

    def read_bytes(self) -> bytes:
        return read(self.url)

    @property
    def _is_known(self) -> bool:
        """True if size and stamp are known; a listing of a web page does not tell them."""
        return self._found is not None and self._found.size is not None

    def _facts(self) -> Stat:
        if self._found is None or not self._is_known:
            self._found = stat(self.url)
        return self._found

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


def origins(places: "Iterable[AnyPath]") -> frozenset[str]:
    """Return the hosts and buckets of the URLs among the places."""
    return frozenset(place.origin for place in places if isinstance(place, UrlPath))


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
