"""Scenes of coloured shapes, their captions, and defects of a known size on each axis.

Severities run from 0 (none) to 1. What a defect changes is always visible: shapes keep apart, and a
changed colour, shape or side differs from every object of the scene.
"""

import random
from dataclasses import dataclass, replace
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 145, 30),
    "yellow": (246, 214, 50),
    "green": (50, 150, 70),
    "blue": (45, 85, 200),
    "purple": (130, 60, 170),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
BACKGROUNDS = ((196, 206, 214), (214, 203, 186), (176, 196, 178), (206, 188, 204), (150, 160, 172))
RELATIONS = ("left of", "right of", "above", "below")
AXES = ("alignment", "coherence", "style", "temporal")
# Share of each axis in the severity that `overall` is judged by.
WEIGHTS = {"alignment": 0.4, "coherence": 0.3, "style": 0.2, "temporal": 0.3}


@dataclass(frozen=True)
class Thing:
    """A shape; centre and radius as shares of the picture's side, angle in degrees."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One or two things on a plain ground, with the caption that is true of them."""

    caption: str
    things: tuple[Thing, ...]
    background: tuple[int, int, int]


def random_scene(rng: random.Random) -> Scene:
    """A scene drawn at random; two things differ in colour and shape and do not overlap."""
    background = rng.choice(BACKGROUNDS)
    first, second = rng.sample(list(COLOURS), 2), rng.sample(SHAPES, 2)
    radius = rng.uniform(0.14, 0.18)
    if rng.random() < 0.4:
        thing = Thing(
            second[0], first[0], rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), radius + 0.06
        )
        return Scene(_named(thing), (thing,), background)
    relation = rng.choice(RELATIONS)
    near, far, across = rng.uniform(0.22, 0.28), rng.uniform(0.72, 0.78), rng.uniform(0.35, 0.65)
    along = (near, far) if relation in ("left of", "above") else (far, near)
    horizontal = relation in ("left of", "right of")
    spots = [(a, across) if horizontal else (across, a) for a in along]
    things = tuple(
        Thing(shape, colour, x, y, radius)
        for shape, colour, (x, y) in zip(second, first, spots, strict=True)
    )
    caption = f"{_named(things[0])} {relation} {_named(things[1])}"
    return Scene(caption, things, background)


def random_defects(rng: random.Random, clips: bool) -> dict[str, float]:
    """Severities on one or two axes, or on none: alignment by the number of changes it makes."""
    axes = [axis for axis in AXES if clips or axis != "temporal"]
    count = rng.choices((0, 1, 2), (0.25, 0.5, 0.25))[0]
    return {
        axis: rng.choice((0.5, 1.0)) if axis == "alignment" else rng.uniform(0.05, 1.0)
        for axis in rng.sample(axes, count)
    }


def misalign(scene: Scene, severity: float, rng: random.Random) -> Scene:
    """The scene made untrue to its caption: by one change, or by two at a severity over 0.5."""
    things = list(scene.things)
    kinds = ["colour", "shape"]
    if len(things) == 2:
        # Where a thing is lost there is nothing left to swap.
        kinds.append(rng.choice(("lose", "swap")))
    chosen = rng.sample(kinds, 1 if severity <= 0.5 else 2)
    if "lose" in chosen:
        del things[rng.randrange(2)]
    if "swap" in chosen:
        one, two = things
        things = [replace(one, x=two.x, y=two.y), replace(two, x=one.x, y=one.y)]
    if "colour" in chosen:
        used, at = {thing.colour for thing in scene.things}, rng.randrange(len(things))
        things[at] = replace(things[at], colour=rng.choice([c for c in COLOURS if c not in used]))
    if "shape" in chosen:
        used, at = {thing.shape for thing in scene.things}, rng.randrange(len(things))
        things[at] = replace(things[at], shape=rng.choice([s for s in SHAPES if s not in used]))
    return replace(scene, things=tuple(things))


def shown(scene: Scene, defects: dict[str, float], rng: random.Random) -> Scene:
    """What is drawn for a scene: itself, or the scene misaligned."""
    severity = defects.get("alignment")
    return misalign(scene, severity, rng) if severity else scene


def cells(scene: Scene, count: int) -> list[tuple[int, int]]:
    """(shape, colour) class of each of count x count cells, row by row; 0 where it is empty."""
    middles = [(i + 0.5) / count for i in range(count)]
    return [_cell(scene, x, y) for y in middles for x in middles]


def _cell(scene: Scene, x: float, y: float) -> tuple[int, int]:
    for thing in scene.things:
        if max(abs(x - thing.x), abs(y - thing.y)) < thing.radius:
            return 1 + SHAPES.index(thing.shape), 1 + list(COLOURS).index(thing.colour)
    return 0, 0


def draw(scene: Scene, side: int) -> Image.Image:
    """The scene as an RGB picture, drawn at twice its side and reduced: edges are smooth."""
    big = Image.new("RGB", (2 * side, 2 * side), scene.background)
    pen = ImageDraw.Draw(big)
    for thing in scene.things:
        _draw_thing(pen, thing, 2 * side)
    return big.reduce(2)


def tear(picture: Image.Image, scene: Scene, severity: float, rng: random.Random) -> Image.Image:
    """Coherence: a strip through a thing slides out of place, and at high severity a second one."""
    picture, side = picture.copy(), picture.width
    for thing in scene.things[: 1 if severity < 0.5 else 2]:
        height = int((0.5 + 0.3 * severity) * thing.radius * side)
        top = int((thing.y - rng.uniform(0.2, 0.6) * thing.radius) * side)
        left, right = (int((thing.x + s * 1.1 * thing.radius) * side) for s in (-1, 1))
        shift = int((0.35 + 0.65 * severity) * thing.radius * side) * rng.choice((-1, 1))
        strip = picture.crop((left, top, right, top + height))
        picture.paste(scene.background, (left, top, right, top + height))
        picture.paste(strip, (left + shift, top))
    return picture


def spoil(picture: Image.Image, severity: float, kind: str, rng: random.Random) -> Image.Image:
    """Style: one of blur, noise, fading or coarse pixels, stronger with the severity."""
    side = picture.width
    if kind == "blur":
        return picture.filter(ImageFilter.GaussianBlur(side * (0.008 + 0.03 * severity)))
    if kind == "noise":
        noise = np.random.default_rng(rng.getrandbits(32)).normal(
            128, 30 + 90 * severity, (side, side)
        )
        grain = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert("RGB")
        return Image.blend(picture, grain, 0.2 + 0.25 * severity)
    if kind == "fade":
        return ImageEnhance.Contrast(picture).enhance(0.55 - 0.4 * severity)
    block = max(4, int(side * (0.03 + 0.06 * severity)))
    small = picture.resize((side // block, side // block), Image.Resampling.BOX)
    return small.resize((side, side), Image.Resampling.NEAREST)


STYLES = ("blur", "noise", "fade", "pixels")


def render(scene: Scene, defects: dict[str, float], rng: random.Random, side: int) -> Image.Image:
    """A still of a `shown` scene, with coherence and style at the given severities."""
    return _finish(draw(scene, side), scene, defects, rng, rng.choice(STYLES))


def render_clip(
    scene: Scene, defects: dict[str, float], rng: random.Random, side: int, frames: int
) -> list[Image.Image]:
    """Frames of a `shown` scene that drifts and turns; temporal defects make it jump or flicker."""
    drift = [(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)) for _ in scene.things]
    torn, style, seed = defects.get("coherence"), rng.choice(STYLES), rng.random()
    jump, flicker = defects.get("temporal", 0.0), rng.random() < 0.5
    clip = []
    for index in range(frames):
        at = index / max(1, frames - 1)
        wobble = 0.0 if flicker or not jump else (0.05 + 0.12 * jump) * (-1) ** index
        moved = replace(
            scene,
            things=tuple(
                replace(t, x=t.x + at * dx + wobble, y=t.y + at * dy - wobble / 2, angle=20 * at)
                for t, (dx, dy) in zip(scene.things, drift, strict=True)
            ),
        )
        if flicker and jump and index % 2:
            colours = [c for c in COLOURS if c not in {t.colour for t in scene.things}]
            moved = replace(
                moved,
                things=tuple(
                    replace(t, radius=t.radius * (1 - 0.5 * jump), colour=colours[i])
                    for i, t in enumerate(moved.things)
                ),
            )
        steady = random.Random(seed)
        kept = {"coherence": torn or 0.0, "style": defects.get("style", 0.0)}
        clip.append(_finish(draw(moved, side), moved, kept, steady, style))
    return clip


def badness(defects: dict[str, float]) -> float:
    """Severity of all defects together: what `overall` is judged by."""
    return sum(WEIGHTS[axis] * severity for axis, severity in defects.items())


def _finish(
    picture: Image.Image, scene: Scene, defects: dict[str, float], rng: random.Random, style: str
) -> Image.Image:
    if defects.get("coherence"):
        picture = tear(picture, scene, defects["coherence"], rng)
    if defects.get("style"):
        picture = spoil(picture, defects["style"], style, rng)
    return picture


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, side: int) -> None:
    x, y, r = thing.x * side, thing.y * side, thing.radius * side
    fill, turn = COLOURS[thing.colour], radians(thing.angle)

    def ring(count: int, start: float, radii: tuple[float, ...]) -> list[tuple[float, float]]:
        return [
            (
                x + r * radii[i % len(radii)] * cos(turn + start + 2 * pi * i / count),
                y + r * radii[i % len(radii)] * sin(turn + start + 2 * pi * i / count),
            )
            for i in range(count)
        ]

    if thing.shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif thing.shape == "square":
        pen.polygon(ring(4, pi / 4, (1.2,)), fill=fill)
    elif thing.shape == "triangle":
        pen.polygon(ring(3, -pi / 2, (1.2,)), fill=fill)
    elif thing.shape == "star":
        pen.polygon(ring(10, -pi / 2, (1.2, 0.5)), fill=fill)
    else:
        for a, b in ((1.1, 0.4), (0.4, 1.1)):
            corners = ((-a, -b), (a, -b), (a, b), (-a, b))
            pen.polygon(
                [
                    (
                        x + r * (u * cos(turn) - v * sin(turn)),
                        y + r * (u * sin(turn) + v * cos(turn)),
                    )
                    for u, v in corners
                ],
                fill=fill,
            )


def _named(thing: Thing) -> str:
    return f"{'an' if thing.colour == 'orange' else 'a'} {thing.colour} {thing.shape}"
