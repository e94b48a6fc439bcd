"""A bundle: a .zip of the page with larger pictures and clips, to send to others."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from librehps.files import check_file, check_free, growing, writing
from librehps.report.shown import Shown, Wanted

SUFFIX, PAGE_NAME = ".zip", "index.html"
MB = 1_000_000
# Characters that no Windows file name has, and bytes of a name that are not UTF-8.
UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*\ud800-\udfff]')
# A longer clip is shown as its middle frame, so that one file does not fill a bundle.
MAX_CLIP_SHARE = 4


@dataclass
class Bundle:
    """A .zip that is being written; `room` is the number of bytes left for pictures and clips."""

    file: ZipFile
    folder: str
    room: int
    wanted: Wanted
    left_out: int = 0
    kept: int = 0
    links: dict[Path, str] = field(default_factory=dict)

    def keep(self, place: int, shown: Shown) -> str | None:
        """Store the clip or the larger picture of an image; return its link, None if full."""
        if shown.clip is not None:
            return self._add(f"clips/{place:05d}{shown.clip.suffix}", shown.clip.data)
        if shown.large is not None:
            return self._add(f"pictures/{place:05d}.webp", shown.large)
        return None

    def copy(self, files: Iterable[Path], folder: str) -> None:
        """Copy pages next to this one, and note their links by path."""
        for number, file in enumerate(files):
            if file.stat().st_size > self.room:
                self.left_out += 1
                continue
            link = self._add(f"{folder}/{number:03d}.html", file.read_bytes())
            if link is not None:
                self.links[file] = link

    def write_page(self, page: bytes) -> None:
        """Store the page itself."""
        self.file.writestr(f"{self.folder}/{PAGE_NAME}", page, ZIP_DEFLATED)

    def _add(self, name: str, data: bytes) -> str | None:
        if len(data) > self.room:
            self.left_out += 1
            return None
        self.room -= len(data)
        self.kept += 1
        # WebP and video are compressed already.
        how = ZIP_DEFLATED if PurePosixPath(name).suffix == ".html" else ZIP_STORED
        self.file.writestr(f"{self.folder}/{name}", data, how)
        return f"./{name}"


def check_bundle(output: Path, overwrite: bool) -> None:
    """Raise UsageError if the file exists (without `overwrite`) or does not end in .zip."""
    check_file(output, (SUFFIX,), "a bundle ends in .zip")
    check_free(output, overwrite)


@contextmanager
def bundle_to(output: Path, max_mb: int) -> Iterator[Bundle]:
    """Yield a bundle of at most `max_mb` besides the page; it is complete, or not written."""
    room = max_mb * MB
    wanted = Wanted(large=True, clip_bytes=room // MAX_CLIP_SHARE)
    with writing(output), growing(output) as partial, ZipFile(partial, "w") as file:
        yield Bundle(file, folder_of(output), room, wanted)


def folder_of(output: Path) -> str:
    """Return the folder within the .zip: the file's name, as every system can unzip it."""
    return UNSAFE.sub("_", output.stem).strip(" .") or "report"
