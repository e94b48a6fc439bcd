"""The HTML page: one self-contained file that loads nothing else."""

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
# FIXED_BYTES: Plotly, our scripts and the leaderboard.
MAX_PAGE_BYTES, FIXED_BYTES = 19_900_000, 7_100_000
PAGE_SUFFIXES = (".html", ".htm")
# The early scripts draw rows and images before the browser has parsed Plotly.
EARLY_SCRIPTS = ("dom.js", "model.js", "cards.js", "gallery.js", "board.js", "rows.js", "main.js")
PLOT_SCRIPTS = ("plots.js", "scatter.js", "drawn.js")


@dataclass(frozen=True)
class Contents:
    """The contents of a page; `record` is the settings record, empty if unknown."""

    title: str
    record: dict[str, Any]
    digest: str | None
    rows: "Rows"
    pictures: "Pictures"
    leaderboard: Leaderboard | None = None
    agreement: Agreement | None = None


def room_for_pictures(rows: "Rows") -> int:
    """Return the bytes that are left for thumbnails on a page with these rows."""
    from jinja2.utils import htmlsafe_json_dumps

    return MAX_PAGE_BYTES - FIXED_BYTES - len(htmlsafe_json_dumps(rows.columns))


def check_page(output: Path, overwrite: bool) -> None:
    """Raise UsageError if the file exists (without `overwrite`) or does not end in .html."""
    check_file(output, PAGE_SUFFIXES, "a report ends in .html")
    check_free(output, overwrite)


def write_page(contents: Contents, output: Path) -> int:
    """Write the page atomically; returns its size in bytes."""
    page = render(contents).encode(errors="replace")
    with writing(output):
        write_whole(output, page)
    return len(page)


def render(contents: Contents) -> str:
    """Return the HTML; text of users is escaped, or stands in JSON."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    # Without sort_keys: the axes keep their order.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    scripts = [_joined(EARLY_SCRIPTS), _script(get_plotlyjs()), _joined(PLOT_SCRIPTS)]
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
    """Return the script as browsers read it, with \\n as the only line break."""
    if "</script" in text.lower() or "<!--" in text:
        raise OutputError("invalid script in the report: it has </script or <!--")
    return f"\n{text}\n".replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    """Return the script's hash for the page's Content-Security-Policy."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
