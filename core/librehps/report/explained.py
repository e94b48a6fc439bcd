"""Links from rows to their explanations: pages that `librehps explain -o` wrote."""

from collections.abc import Iterator, Sequence
from os import fsencode
from os.path import relpath
from pathlib import Path
from urllib.parse import quote, unquote

from librehps.errors import UsageError
from librehps.explain.anchors import PREFIX, anchors_in
from librehps.report.data import Rows

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
            anchors = anchors_in(page)
        except OSError as error:
            raise UsageError(f"--explain: {page} cannot be read: {error.strerror}") from error
        for anchor in anchors:
            name = unquote(anchor.removeprefix(PREFIX), errors="surrogateescape")
            # A path as it was given may begin with ./
            for one in (name, str(Path(name))):
                found.setdefault(one, (page, anchor))
    if not found:
        names = ", ".join(map(str, pages[:3]))
        raise UsageError(f"--explain: no explanation of an item found (pages: {names})")
    return found


def links_of(rows: Rows, anchors: Anchors, links: dict[Path, str]) -> dict[int, str]:
    """Return the link of each row that is explained; `links` has those of the pages.

    An explanation is named by the path that `explain` was given: the row's id, its media, or the
    path of the media from the working folder or from the root.
    """
    found = {}
    for row, names in enumerate(_names(rows) if anchors else ()):
        at = next((anchors[name] for name in names if name in anchors), None)
        if at is not None and at[0] in links:
            found[row] = f"{links[at[0]]}#{at[1]}"
    return found


def _names(rows: Rows) -> Iterator[list[str]]:
    here = Path.cwd()
    for name, text, media in zip(
        rows.columns["id"], rows.columns["media"], rows.media, strict=True
    ):
        names = [one for one in (name, text) if one is not None]
        if isinstance(media, Path):
            whole = here / media
            names += [str(media), str(whole)]
            if whole.is_relative_to(here):
                names.append(str(whole.relative_to(here)))
        yield names


def relative_links(pages: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Return the links of pages from a page in `folder`, percent-encoded."""
    return {page: "./" + quote(fsencode(Path(relpath(page, folder)).as_posix())) for page in pages}
