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
    radius = rng.uniform(0.15, 0.21)
    if rng.random() < 0.4:
        thing = Thing(
            second[0], first[0], rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), radius + 0.06
        )
        return Scene(_named(thing), (thing,), background)
    relation = rng.choice(RELATIONS)
    near, far, across = rng.uniform(0.24, 0.3), rng.uniform(0.7, 0.76), rng.uniform(0.35, 0.65)
    along = (near, far) if relation in ("left of", "above") else (far, near)
    horizontal = relation in ("left of", "right of")
    spots = [(a, across) if horizontal else (across, a) for a in along]
    things = tuple(
        Thing(shape, colour, x, y, radius)
        for shape, colour, (x, y) in zip(second, first, spots, strict=True)
    )
    caption = f"{_named(things[0])} {relation} {_named(things[1])}"
    return Scene(caption, things, background)


def misalign(scene: Scene, severity: float, rng: random.Random) -> Scene:
    """The scene made untrue to its caption: more of it, the higher the severity."""
    things = list(scene.things)
    changes = 1 if severity < 0.67 else 2
    kinds = ["colour", "shape"] + (["swap", "lose"] if len(things) == 2 else [])
    for kind in rng.sample(kinds, changes):
        at = rng.randrange(len(things))
        if kind == "colour":
            used = {thing.colour for thing in scene.things}
            things[at] = replace(
                things[at], colour=rng.choice([c for c in COLOURS if c not in used])
            )
        elif kind == "shape":
            used = {thing.shape for thing in scene.things}
            things[at] = replace(things[at], shape=rng.choice([s for s in SHAPES if s not in used]))
        elif kind == "lose":
            del things[at]
        elif len(things) == 2:
            one, two = things
            things = [replace(one, x=two.x, y=two.y), replace(two, x=one.x, y=one.y)]
    return replace(scene, things=tuple(things))


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
    """A still of the scene with the given severities (temporal has no meaning here)."""
    shown = misalign(scene, defects["alignment"], rng) if defects.get("alignment") else scene
    picture = draw(shown, side)
    return _finish(picture, shown, defects, rng, rng.choice(STYLES))


def render_clip(
    scene: Scene, defects: dict[str, float], rng: random.Random, side: int, frames: int
) -> list[Image.Image]:
    """Frames in which the things drift and turn; temporal defects make them jump or flicker."""
    shown = misalign(scene, defects["alignment"], rng) if defects.get("alignment") else scene
    drift = [(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)) for _ in shown.things]
    torn, style, seed = defects.get("coherence"), rng.choice(STYLES), rng.random()
    jump, flicker = defects.get("temporal", 0.0), rng.random() < 0.5
    clip = []
    for index in range(frames):
        at = index / max(1, frames - 1)
        wobble = 0.0 if flicker or not jump else (0.05 + 0.12 * jump) * (-1) ** index
        moved = replace(
            shown,
            things=tuple(
                replace(t, x=t.x + at * dx + wobble, y=t.y + at * dy - wobble / 2, angle=20 * at)
                for t, (dx, dy) in zip(shown.things, drift, strict=True)
            ),
        )
        if flicker and jump and index % 2:
            colours = [c for c in COLOURS if c not in {t.colour for t in shown.things}]
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
