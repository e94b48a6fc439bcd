"""Write explanations to a file: a page, or a picture with its map."""

from collections.abc import Sequence
from pathlib import Path

from librehps.choices import ExplainBy
from librehps.errors import UsageError
from librehps.explain.explanation import DEFAULT_BY, Explanation, checked_parts
from librehps.files import check_file, check_free, write_whole, writing

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
    from librehps.explain.pictures import no_map

    parts = checked_parts(by)
    if output is None or output.suffix.lower() not in PICTURES:
        return parts
    if parts and "regions" not in parts:
        raise no_map()
    return parts or DEFAULT_BY["image"]


def write_explanations(
    explanations: Sequence[Explanation], output: str | Path, overwrite: bool = False
) -> None:
    """Write a page (.html) of explanations, or one picture with its map (.png).

    Raises UsageError for an unsupported suffix or an existing file, and OutputError.
    """
    from librehps.explain.page import page_of
    from librehps.explain.pictures import png_of

    path = Path(output)
    check_explanation_file(path, overwrite, len(explanations))
    if path.suffix.lower() in PICTURES:
        content = png_of(explanations[0])
    else:
        content = page_of(explanations).encode(errors="replace")
    with writing(path):
        write_whole(path, content)
