"""The HTML page of explanations: one self-contained file, for light, dark and narrow screens."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from librehps.explain.anchors import anchor_of
from librehps.explain.colors import COSTS, EARNS, overlay, share
from librehps.explain.explanation import NOTE, Explanation
from librehps.explain.pictures import picture_of, rgba_of
from librehps.explain.unexplained import Unexplained
from librehps.explain.words import WordEffect, WordEffects
from librehps.files import printable

if TYPE_CHECKING:
    from PIL.Image import Image

    from librehps.explain.frames import FrameEffects
    from librehps.explain.regions import RegionMap

STYLE = Path(__file__).parent / "page.css"
# A word of the largest effect has this opacity behind it.
WORD_OPACITY = 0.45


def page_start() -> str:
    """Return the HTML of a page before its articles."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Explanation of scores</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
        "</head><body><main><h1>Why these scores</h1>"
        f'<p class="note">This page {escape(NOTE)}. mu is a score without bounds; '
        '<span class="costs">red</span> costs points of mu, '
        '<span class="earns">green</span> earns them.</p>\n'
    )


PAGE_END = "</main></body></html>\n"


def article_of(one: Explanation | Unexplained) -> str:
    """Return the HTML of one explanation or error; texts of users are escaped."""
    name = escape(printable(one.media or one.item.id))
    body = _error(one) if isinstance(one, Unexplained) else _body(one)
    return f'<article id="{anchor_of(one.item.id)}"><h2>{name}</h2>{body}</article>\n'


def _error(one: Unexplained) -> str:
    return f'<p class="error">No explanation: {escape(printable(str(one.error)))}</p>'


def _body(one: Explanation) -> str:
    parts = []
    if one.words is not None:
        parts.append(_words(one.prompt, one.words))
    if one.regions is not None:
        parts.append(_regions(one, one.regions))
    if one.frames is not None:
        parts.append(_frames(one, one.frames))
    return (
        f'<div class="parts">{"".join(parts)}</div>'
        f'<p class="soft">scored variants: {one.forwards} · settings {escape(one.settings)}</p>'
    )


def _words(prompt: str, found: WordEffects) -> str:
    most = max([abs(word.blame) for word in found.words], default=0.0)
    text, at = "", 0
    for word in found.words:
        text += escape(prompt[at : word.start]) + _mark(word, most, word in found.blamed)
        at = word.end
    rows = [(part.text, part.blame, _fix(part)) for part in (*found.words, *found.phrases)]
    verdict = ", ".join(word.text for word in found.blamed) or "none"
    remark = "" if found.remark is None else f'<p class="soft">{escape(found.remark)}</p>'
    return (
        f"<section><h3>Words, {escape(found.axis)} (mu {found.mu:+.2f})</h3>"
        f'<p class="prompt">{text}{escape(prompt[at:])}</p>'
        f"<p>Words the picture fails, to the model: <strong>{escape(verdict)}</strong></p>"
        f"{remark}{_bars(rows, ('word or phrase', 'costs', 'better'))}</section>"
    )


def _mark(word: WordEffect, most: float, is_blamed: bool) -> str:
    red, green, blue = COSTS if word.blame > 0 else EARNS
    opacity = WORD_OPACITY * share(word.blame, most)
    kind = ' class="blamed"' if is_blamed else ""
    return (
        f'<mark{kind} style="background:rgb({red} {green} {blue} / {opacity:.2f})" '
        f'title="costs {word.blame:+.2f}">{escape(word.text)}</mark>'
    )


def _fix(part: WordEffect) -> str:
    return "" if part.better is None else f"{part.better} {part.swapped[part.better]:+.1f}"


def _bars(rows: Sequence[tuple[str, float, str]], headings: tuple[str, str, str]) -> str:
    most = max([abs(value) for _, value, _ in rows], default=0.0)
    name, number, more = map(escape, headings)
    lines = [
        f"<tr><td>{escape(text)}</td><td>{_bar(value, most)}</td>"
        f'<td class="number {_kind(value)}">{value:+.2f}</td>'
        f'<td class="soft">{escape(extra)}</td></tr>'
        for text, value, extra in rows
    ]
    head = f'<tr><th>{name}</th><th></th><th class="number">{number}</th><th>{more}</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def _bar(value: float, most: float) -> str:
    """Return a bar from the middle, to the right for what costs points."""
    width = 50 * share(value, most)
    left = 50 if value > 0 else 50 - width
    return (
        '<svg viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">'
        '<line x1="50" x2="50" y1="0" y2="14" vector-effect="non-scaling-stroke"/>'
        f'<rect class="{_kind(value)}" x="{left:.1f}" y="2" width="{width:.1f}" height="10"/></svg>'
    )


def _kind(value: float) -> str:
    return "costs" if value > 0 else "earns"


def _regions(one: Explanation, found: "RegionMap") -> str:
    height, width = one.pixels.shape[-2:]
    x, y = found.peak
    layer = rgba_of(overlay(torch.tensor(found.costs), height, width))
    circle = f'<span class="peak" style="left:{x:.1%};top:{y:.1%}"></span>'
    circle, text = (circle, _CIRCLE_HINT) if found.has_costs else ("", "No region costs points.")
    remark = "" if found.remark is None else f" This is a {escape(found.remark)}."
    return (
        f"<section><h3>Regions, {escape(found.axis)} (mu {found.mu:+.2f})</h3>"
        f'<div class="picture"><img alt="the picture as the model sees it" '
        f'src="{_data(picture_of(one.pixels[0]))}"><img alt="map of costs" src="{_data(layer)}">'
        f'{circle}</div><p class="soft">{text} {_REGIONS_HINT}{remark}</p>'
        "</section>"
    )


_CIRCLE_HINT = "The circle marks where points are lost most."
_REGIONS_HINT = "Hover over the picture to see it without the map."


def _frames(one: Explanation, found: "FrameEffects") -> str:
    most = max(abs(frame.cost) for frame in found.frames)
    figures = "".join(
        f'<figure><img alt="frame {frame.index}" src="{_data(picture_of(pixels))}">'
        f"{_bar(frame.cost, most)}<figcaption>frame {frame.index} "
        f'<span class="{_kind(frame.cost)}">{frame.cost:+.2f}</span></figcaption></figure>'
        for frame, pixels in zip(found.frames, one.pixels, strict=False)
    )
    return (
        f"<section><h3>Frames, {escape(found.axis)} (mu {found.mu:+.2f})</h3>"
        f'<div class="frames">{figures}</div></section>'
    )


def _data(picture: "Image") -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
