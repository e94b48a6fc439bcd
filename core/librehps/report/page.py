"""The page itself: one file with all that it shows, which asks for nothing else."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.decide.standings import Leaderboard
from librehps.errors import OutputError
from librehps.files import check_file, check_free, write_whole, writing
from librehps.report.figures import Agreement, agreement_record, leaderboard_record

if TYPE_CHECKING:
    from librehps.report.data import Rows
    from librehps.report.pictures import Pictures

TEMPLATES = Path(__file__).parent / "templates"
SUFFIXES = (".html", ".htm")
# Rows and pictures are drawn by the first part, before the browser has read Plotly.
FIRST = ("dom.js", "model.js", "cards.js", "gallery.js", "board.js", "rows.js", "main.js")
SECOND = ("plots.js", "scatter.js", "drawn.js")


@dataclass(frozen=True)
class Contents:
    """What goes on a page; `record` is that of the settings, empty where there is none."""

    title: str
    record: dict[str, Any]
    digest: str | None
    rows: "Rows"
    pictures: "Pictures"
    leaderboard: Leaderboard | None = None
    agreement: Agreement | None = None


def check_page(output: Path, overwrite: bool) -> None:
    """Raise UsageError for a file that exists, or that cannot be a page."""
    check_file(output, SUFFIXES, "a report ends in .html")
    check_free(output, overwrite)


def write_page(contents: Contents, output: Path) -> int:
    """Write the page, which appears only when it is whole; gives its size in bytes."""
    page = render(contents).encode(errors="replace")
    with writing(output):
        write_whole(output, page)
    return len(page)


def render(contents: Contents) -> str:
    """The HTML; whatever a user wrote stands in it as text, or as JSON."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    # The axes have an order of their own.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    scripts = [_joined(FIRST), _script(get_plotlyjs()), _joined(SECOND)]
    return environment.get_template("page.html").render(
        title=contents.title,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours, and Plotly's
        hashes=[_hash(script) for script in scripts],
        data=_data(contents),
        images=contents.pictures.images,
    )


def _data(contents: Contents) -> dict[str, Any]:
    board, agreement = contents.leaderboard, contents.agreement
    return {
        "title": contents.title,
        "digest": contents.digest,
        "record": [[name, str(value)] for name, value in contents.record.items()],
        **contents.rows.columns,
        "pictures": {"of": contents.pictures.of, "reasons": contents.pictures.reasons},
        "leaderboard": None if board is None else leaderboard_record(board),
        "agreement": None if agreement is None else agreement_record(agreement),
    }


def _joined(names: tuple[str, ...]) -> str:
    parts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in names]
    return _script("\n".join(parts))


def _script(text: str) -> str:
    """The script as the browser will read it, between line breaks and with one kind of them."""
    if "</script" in text.lower() or "<!--" in text:
        raise OutputError("a script of the report would end the element that holds it")
    return f"\n{text}\n".replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    """How the page's policy names the script; no other one runs."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
