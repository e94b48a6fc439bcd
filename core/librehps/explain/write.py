"""Write explanations to a file: a page, or a picture with its map."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from librehps.choices import ExplainBy
from librehps.errors import UsageError
from librehps.explain.explanation import DEFAULT_BY, Explanation, checked_parts
from librehps.explain.page import PAGE_END, article_of, page_start
from librehps.explain.pictures import no_map, png_of
from librehps.explain.unexplained import Unexplained
from librehps.files import check_file, check_free, growing, write_whole, writing

PAGES, PICTURES = (".html", ".htm"), (".png",)


def check_explanation_file(output: Path, overwrite: bool = False, items: int = 1) -> None:
    """Raise UsageError for a file that exists, has another suffix, or cannot hold the items."""
    check_file(output, (*PAGES, *PICTURES), "an explanation ends in .html or .png")
    check_free(output, overwrite)
    if items > 1 and output.suffix.lower() in PICTURES:
        raise UsageError(
            f"{output}: a .png shows one picture, got {items}", hint="Write an .html file."
        )


def parts_for(output: Path | None, by: str | Sequence[str] | None) -> tuple[ExplainBy, ...] | None:
    """Return the ways to explain for a file: a .png needs `regions`, else UsageError is raised."""
    parts = checked_parts(by)
    if output is None or output.suffix.lower() not in PICTURES:
        return parts
    if parts and "regions" not in parts:
        raise no_map()
    return parts or DEFAULT_BY["image"]


def write_explanations(
    explanations: Iterable[Explanation | Unexplained], output: str | Path, overwrite: bool = False
) -> int:
    """Write a page (.html) of explanations, or one picture with its map (.png); return their count.

    Each explanation of a page is written as it comes, with its errors, so that many need little
    memory. An iterable without an explanation writes no file. Raises UsageError for an unsupported
    suffix or an existing file, and OutputError.
    """
    path = Path(output)
    check_explanation_file(path, overwrite)
    if path.suffix.lower() in PICTURES:
        return _write_picture(explanations, path)
    rows = iter(explanations)
    before: list[str] = []
    for row in rows:
        before.append(article_of(row))
        if isinstance(row, Explanation):
            return _write_page(before, rows, path)
    return 0


def _write_page(
    before: Sequence[str], rows: Iterator[Explanation | Unexplained], path: Path
) -> int:
    """Write the articles, of which the last is an explanation, and all of the rows."""
    count = 1
    with writing(path), growing(path) as partial, partial.open("wb") as file:
        file.write("".join((page_start(), *before)).encode(errors="replace"))
        for row in rows:
            file.write(article_of(row).encode(errors="replace"))
            count += isinstance(row, Explanation)
        file.write(PAGE_END.encode())
    return count


def _write_picture(explanations: Iterable[Explanation | Unexplained], path: Path) -> int:
    found = [row for row in explanations if isinstance(row, Explanation)]
    check_explanation_file(path, True, len(found))
    if found:
        content = png_of(found[0])
        with writing(path):
            write_whole(path, content)
    return len(found)
