"""Scored tables with real pictures, and pages of them, for the tests of the report."""

import json
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from librehps.decide.standings import Board, Interval, Leaderboard, Standing
from librehps.report.choose import Places, chosen_rows
from librehps.report.figures import Agreement
from librehps.report.page import Contents, write_page
from librehps.report.pictures import pictures_of
from librehps.report.shown import Pictures
from librehps.scores.score_table import ScoreTable

SETTINGS = {"model": "LibreHPS-Test", "dtype": "float32"}
ATTACK = "window.__pwned = 1; alert(1)"
HOSTILE = [
    f"<script>{ATTACK}</script>",
    f"</script><img src=x onerror='{ATTACK}'>",
    f'"onmouseover="{ATTACK}" x="',
    f"<b>bold</b> <a href='javascript:{ATTACK}'>link</a>",
    "line\u2028separator\u2029and \u0001 bell \u0007 escape \u001b[31m",
    "\u202etxet desrever\u2066 <!-- {{ 7 * 7 }} {% raw %}",
    f"${{{ATTACK}}} `{ATTACK}` &lt;script&gt; &quot;",
    "a" * 300,
]
STILL_AXES = ("overall", "alignment", "coherence", "style")
AGREEMENT = Agreement(
    source="people.jsonl", pairs=90, points=[(0.1, 0.15, 20), (0.5, 0.45, 50), (0.9, 0.88, 20)],
    accuracy=0.734, interval=(0.65, 0.81), ece=0.061, ece_calibrated=0.032, calibrated=True,
    held_out=True,
)  # fmt: skip


def picture(folder: Path, name: str, level: int) -> str:
    """A small picture on disk, its side twice as wide as high; gives its path."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), (level % 256, 90, 140)).save(file, "PNG")
    return str(file)


def scored(media: Sequence[str | None], prompts: Sequence[str | None], **own: Any) -> pa.Table:
    """Rows as `score -o` writes them: the first is the best on overall and the worst on style."""
    count = len(media)
    place = np.arange(count) / max(1, count - 1)
    mu = {"overall": 2 - 4 * place, "alignment": np.cos(7 * place), "coherence": np.sin(5 * place),
          "style": 4 * place - 2}  # fmt: skip
    columns: dict[str, Any] = {
        "id": [f"item {i}" for i in range(count)],
        "media": pa.array(media, pa.string()),
        "kind": ["image"] * count,
        "prompt": pa.array(prompts, pa.string()),
        "group": pa.nulls(count, pa.string()),
        **{axis: pa.array(1 / (1 + np.exp(-mu[axis])), pa.float32()) for axis in STILL_AXES},
        "temporal": pa.nulls(count, pa.float32()),
        **{f"{axis}_mu": pa.array(mu[axis], pa.float32()) for axis in STILL_AXES},
        "temporal_mu": pa.nulls(count, pa.float32()),
        "status": ["ok"] * count,
        "error_type": pa.nulls(count, pa.string()),
        "error": pa.nulls(count, pa.string()),
        "settings": ["0123456789ab"] * count,
        **own,
    }
    return pa.table(columns)


def with_errors(table: pa.Table, errors: dict[int, tuple[str, str]]) -> pa.Table:
    """The table with some rows as errors: row -> (error_type, error)."""
    rows = table.to_pylist()
    for at, (kind, message) in errors.items():
        empty = {name: None for name in rows[at] if name.removesuffix("_mu") in STILL_AXES}
        rows[at] |= {**empty, "status": "error", "error_type": kind, "error": message}
    return pa.Table.from_pylist(rows, table.schema)


def write_scores(table: pa.Table, file: Path, settings: dict[str, Any] = SETTINGS) -> Path:
    metadata = {"librehps.settings": json.dumps(settings)}
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return file


def page_of(
    table: pa.Table,
    output: Path,
    *,
    title: str = "A report",
    by: str | None = None,
    per: str | None = None,
    limit: int = 2000,
    pictures: Pictures | None = None,
    leaderboard: Leaderboard | None = None,
    agreement: Agreement | None = None,
) -> Path:
    """The page of a table, written beside its media."""
    rows = chosen_rows(ScoreTable(table), by, per, Places(output.parent))
    shown = pictures or pictures_of(rows, limit, 2, lambda made, total: made)
    write_page(
        Contents(title, SETTINGS, "0123456789ab", rows, shown, leaderboard, agreement), output
    )
    return output


def leaderboard_of(names: Sequence[str]) -> Leaderboard:
    """Two axes; the first two cannot be told apart, and the last has no interval of its mean."""
    count = len(names)

    def standing(at: int) -> Standing:
        mean = 0.8 - 0.2 * at
        spread = Interval(mean, mean - 0.05, mean + 0.05) if at < count - 1 else Interval(mean)
        rank = 1 if at < 2 else at + 1
        return Standing(
            names[at], rank, spread, Interval(1.0 - at, 0.5 - at, 1.5 - at), 0.7, 10, at
        )

    wins = tuple(
        tuple(0.5 if i == j else 0.75 if i < j else 0.25 for j in range(count))
        for i in range(count)
    )
    p_values = tuple(
        tuple(float("nan") if i == j else 0.4 if i + j == 1 else 0.002 for j in range(count))
        for i in range(count)
    )
    standings = tuple(map(standing, range(count)))
    leads = tuple(Interval(share, share - 0.1, share + 0.1) for share in wins[0])
    boards = [
        Board(axis, None, 12, standings, wins, p_values, leads) for axis in ("overall", "style")
    ]
    return Leaderboard("generator", tuple(boards), {names[0]: 0, names[-1]: 3})


def webp(level: int) -> str:
    """A thumbnail of a few kilobytes, in base64."""
    noise = np.random.default_rng(level).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    held = BytesIO()
    Image.fromarray(noise).resize((160, 160)).save(held, "WEBP", quality=60)
    return b64encode(held.getvalue()).decode()


def rich_page(folder: Path) -> Path:
    """24 rows of 6 prompts by three generators; three errors, and media that cannot be shown."""
    media = [picture(folder, f"in/{i} a:b.png", 10 * i) for i in range(24)]
    media[5], media[9], media[11] = str(folder / "gone.png"), None, "s3://bucket/5.png"
    (folder / "in" / "torn.png").write_bytes(Path(media[0]).read_bytes()[:60])
    media[13] = str(folder / "in" / "torn.png")
    prompts = [f"prompt {i % 6}" for i in range(24)]
    makers = [("ant", "bee", "cow")[i % 3] for i in range(24)]
    table = scored(media, prompts, generator=makers, seed=list(range(24)))
    errors = {13: ("BrokenMediaError", "torn.png is damaged"), 5: ("MediaNotFoundError", "gone"),
              20: ("BrokenMediaError", "also damaged")}  # fmt: skip
    board = leaderboard_of(["ant", "bee", "cow"])
    return page_of(
        with_errors(table, errors), folder / "report.html", by="generator", leaderboard=board,
        agreement=AGREEMENT,
    )  # fmt: skip


def hostile_page(folder: Path) -> Path:
    """Everything that a user can name is an attack, or would garble the page."""
    count = len(HOSTILE)
    names = [f"{text[:80]}.png" for text in HOSTILE]
    names += [f"javascript:alert({i}).png" for i in range(count)]
    media = [picture(folder, name, 9 * i) for i, name in enumerate(names)]
    columns = {"generator": HOSTILE * 2, '<img src=x onerror="alert(1)">': HOSTILE * 2}
    table = scored(media, HOSTILE * 2, **columns)
    table = table.set_column(0, "id", pa.array([f"{text} {i}" for i, text in enumerate(names)]))
    errors = {3: (HOSTILE[0], HOSTILE[1])}
    return page_of(
        with_errors(table, errors), folder / "r.html", title=HOSTILE[1], by="generator",
        leaderboard=leaderboard_of(HOSTILE[:3]),
    )  # fmt: skip
