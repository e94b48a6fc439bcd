"""Explanations on a terminal: a coloured line of words, bars, and a map of blocks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from librehps_cli.ui.output import Output, bar, safe, signed

if TYPE_CHECKING:
    from librehps.explain.explanation import Explanation
    from librehps.explain.frames import FrameEffects
    from librehps.explain.regions import RegionMap
    from librehps.explain.words import WordEffects

BAR_CELLS = 12
# From no effect to the largest.
SHADES = " ░▒▓█"


def print_explanation(one: "Explanation", out: Output) -> None:
    """Print the explanation of an item as text."""
    from librehps.explain.explanation import NOTE

    out.text(one.media or one.item.id, style="bold")
    if one.words is not None:
        _print_words(one.prompt, one.words, out)
    if one.regions is not None:
        _print_regions(one.regions, out)
    if one.frames is not None:
        _print_frames(one.frames, out)
    out.note(f"scored variants: {one.forwards}; {NOTE}")


def _print_words(prompt: str, found: "WordEffects", out: Output) -> None:
    parts = (*found.words, *found.phrases)
    most = max([abs(part.blame) for part in parts], default=0.0)
    line, at = Text(), 0
    for word in found.words:
        line.append(safe(prompt[at : word.start]))
        style = _style(word.blame, _share(word.blame, most)) + (
            " underline" if word in found.blamed else ""
        )
        line.append(safe(word.text), style=style)
        at = word.end
    line.append(safe(prompt[at:]))
    out.styled(line)
    blamed = ", ".join(word.text for word in found.blamed) or "none"
    out.text(f"{found.axis} {signed(found.mu)}; words the picture fails, to the model: {blamed}")
    rows = [
        [
            part.text,
            bar(_share(part.blame, most), BAR_CELLS),
            signed(part.blame),
            "" if part.better is None else f"{part.better} {signed(part.swapped[part.better])}",
        ]
        for part in parts
    ]
    out.table(["word", "", "costs", "better"], rows, names=("word", "", "better"))
    if found.remark is not None:
        out.note(found.remark)


def _print_regions(found: "RegionMap", out: Output) -> None:
    x, y = found.peak
    place = f"points are lost most at {x:.0%} from the left, {y:.0%} from the top"
    text = place if found.has_costs else "no region costs points"
    out.text(f"{found.axis} {signed(found.mu)}; {text}")
    most = max(abs(cost) for row in found.costs for cost in row)
    # A cell of two characters is about square; a wide map has cells of one.
    wide = min(2, out.width // len(found.costs[0]))
    if wide == 0:
        out.note("the map is wider than the terminal: write it with -o why.png")
        return
    for row in found.costs:
        line = Text()
        for cost in row:
            shade = SHADES[round(_share(cost, most) * (len(SHADES) - 1))]
            line.append(shade * wide, style=_color(cost))
        out.styled(line)
    if found.remark is not None:
        out.note(found.remark)


def _print_frames(found: "FrameEffects", out: Output) -> None:
    most = max(abs(frame.cost) for frame in found.frames)
    place = f"points are lost most at frame {found.peak}"
    text = place if found.has_costs else "no frame costs points"
    out.text(f"{found.axis} {signed(found.mu)}; {text}")
    rows: Sequence[Sequence[str]] = [
        [
            str(frame.index),
            bar(_share(frame.cost, most), BAR_CELLS),
            signed(frame.cost),
        ]
        for frame in found.frames
    ]
    out.table(["frame", "", "costs"], rows, names=("",))


def _share(value: float, most: float) -> float:
    from librehps.explain.colors import share

    return share(value, most)


def _color(value: float) -> str:
    from librehps.explain.colors import COSTS, EARNS

    red, green, blue = COSTS if value > 0 else EARNS
    return f"rgb({red},{green},{blue})"


def _style(value: float, share: float) -> str:
    """Return a style that is stronger for a larger share."""
    if share < 1 / 3:
        return "dim"
    return _color(value) + (" bold" if share > 2 / 3 else "")
