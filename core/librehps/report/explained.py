"""Links from rows to their explanations: pages that `librehps explain -o` wrote."""

import re
from collections.abc import Sequence
from os import fsencode
from os.path import relpath
from pathlib import Path
from urllib.parse import quote, unquote

from librehps.errors import UsageError

# The anchor of an item on such a page: its id, percent-encoded.
ANCHOR = re.compile(r'\bid="item-([^"\s<>]*)"')
SUFFIXES = (".html", ".htm")
# The page and the anchor of each id.
Anchors = dict[str, tuple[Path, str]]


def pages_in(place: Path) -> list[Path]:
    """Return the pages at a path: an .html file, or those of a folder; raises UsageError."""
    hint = "Write one: librehps explain MEDIA... -o why.html"
    if place.is_dir():
        found = sorted(one for one in place.iterdir() if one.suffix.lower() in SUFFIXES)
        if not found:
            raise UsageError(f"--explain: no .html file in the folder {place}", hint)
        return found
    if not place.is_file():
        raise UsageError(f"--explain: {place} does not exist; expected an .html file", hint)
    return [place]


def anchors_of(pages: Sequence[Path]) -> Anchors:
    """Return the page and the anchor of each id that is explained; the first of several counts."""
    found: Anchors = {}
    for page in pages:
        try:
            text = page.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"--explain: {page} cannot be read: {error.strerror}") from error
        for encoded in ANCHOR.findall(text):
            found.setdefault(unquote(encoded), (page, f"item-{encoded}"))
    if not found:
        names = ", ".join(map(str, pages[:3]))
        raise UsageError(f"--explain: no explanation of an item found (pages: {names})")
    return found


def links_of(ids: Sequence[str | None], anchors: Anchors, links: dict[Path, str]) -> dict[int, str]:
    """Return the link of each row that is explained; `links` has those of the pages."""
    found = {}
    for row, name in enumerate(ids):
        if name is not None and name in anchors:
            page, anchor = anchors[name]
            if page in links:
                found[row] = f"{links[page]}#{anchor}"
    return found


def relative_links(pages: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Return the links of pages from a page in `folder`, percent-encoded."""
    return {page: "./" + quote(fsencode(Path(relpath(page, folder)).as_posix())) for page in pages}
