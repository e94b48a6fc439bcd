"""The HTML page: one self-contained file that loads nothing else."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.decide.distinct import Looks
from librehps.decide.standings import Leaderboard
from librehps.errors import OutputError
from librehps.files import check_file, check_free, write_whole, writing
from librehps.report.conclusion import Sentence, conclusion_of
from librehps.report.figures import Agreement, agreement_record, leaderboard_record
from librehps.report.shown import Pictures

if TYPE_CHECKING:
    from librehps.report.data import Rows

TEMPLATES = Path(__file__).parent / "templates"
# ROW_ENTRY_BYTES: the number of a row's image, and its link in a bundle.
MAX_PAGE_BYTES, ROW_ENTRY_BYTES = 19_900_000, 40
PAGE_SUFFIXES = (".html", ".htm")
SCRIPTS = ("dom.js", "model.js", "address.js", "selection.js", "cards.js", "viewer.js",
           "gallery.js", "sides.js", "board.js", "rows.js", "plots.js", "scatter.js",
           "main.js")  # fmt: skip
STYLES = ("style.css", "viewer.css", "narrow.css")


@dataclass(frozen=True)
class Contents:
    """The contents of a page; `record` is the settings record, empty if unknown.

    `looks` counts near-duplicates, where rows have perceptual hashes. `no_board` says why there is
    no leaderboard that was asked for; `explained` has the link of each row that is explained. The
    page of a bundle links to files next to it.
    """

    title: str
    record: dict[str, Any]
    digest: str | None
    rows: "Rows"
    pictures: Pictures
    leaderboard: Leaderboard | None = None
    agreement: Agreement | None = None
    looks: Looks | None = None
    no_board: str | None = None
    explained: Mapping[int, str] = field(default_factory=dict)
    is_bundle: bool = False

    @cached_property
    def conclusion(self) -> list[Sentence]:
        """The sentences at the head of the page."""
        return conclusion_of(self.rows, self.leaderboard, self.agreement, self.looks, self.no_board)


def room_for_pictures(contents: Contents) -> int:
    """Return the bytes that are left for pictures on a page that has none yet."""
    entries = ROW_ENTRY_BYTES * len(contents.rows.media)
    return MAX_PAGE_BYTES - entries - len(render(contents))


def check_page(output: Path, overwrite: bool) -> None:
    """Raise UsageError if the file exists (without `overwrite`) or does not end in .html."""
    check_file(output, PAGE_SUFFIXES, "a report ends in .html")
    check_free(output, overwrite)


def write_page(contents: Contents, output: Path) -> int:
    """Write the page atomically; returns its size in bytes."""
    page = render(contents)
    with writing(output):
        write_whole(output, page)
    return len(page)


def render(contents: Contents) -> bytes:
    """Return the HTML; text of users is escaped, or stands in JSON."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    # Without sort_keys: the axes keep their order.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    script = _script(_joined(SCRIPTS))
    page = environment.get_template("page.html").render(
        title=contents.title,
        conclusion=contents.conclusion,
        style=Markup(_joined(STYLES)),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        hash=_hash(script),
        data=_data(contents),
        images=contents.pictures.images,
        clips=contents.pictures.clips,
    )
    return page.encode(errors="replace")


def _data(contents: Contents) -> dict[str, Any]:
    board, agreement = contents.leaderboard, contents.agreement
    return {
        "title": contents.title,
        "digest": contents.digest,
        "record": [[name, str(value)] for name, value in contents.record.items()],
        **contents.rows.columns,
        **({"link": _bundled_links(contents.pictures)} if contents.is_bundle else {}),
        "bundled": contents.is_bundle,
        "explained": contents.explained,
        "no_board": contents.no_board,
        "pictures": {"of": contents.pictures.of, "reasons": contents.pictures.reasons},
        "leaderboard": None if board is None else leaderboard_record(board),
        "agreement": None if agreement is None else agreement_record(agreement),
    }


def _bundled_links(pictures: Pictures) -> list[str | None]:
    return [pictures.files.get(at) for at in pictures.of]


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _script(text: str) -> str:
    """Return the script as browsers read it, with \\n as the only line break."""
    if "</script" in text.lower() or "<!--" in text:
        raise OutputError("invalid script in the report: it has </script or <!--")
    return f"\n{text}\n".replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    """Return the script's hash for the page's Content-Security-Policy."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
