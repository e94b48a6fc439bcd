"""Drawing scenes, and defects of a known severity (0 none, 1 worst) on each axis."""

import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from scenes import Caption, Scene, Thing, compose, misalign

AXES = ("alignment", "coherence", "style", "temporal")
# Share of each axis in the severity that `overall` is judged by.
WEIGHTS = {"alignment": 0.4, "coherence": 0.3, "style": 0.2, "temporal": 0.3}
MOST_CHANGES = 3
STYLES = ("blur", "noise", "fade", "harsh", "pixels")
MOTIONS = ("jump", "pulse", "flash")


@dataclass(frozen=True)
class Defects:
    """Severity by axis, in (0, 1], absent where there is none; of style and motion, which kind."""

    severity: dict[str, float] = field(default_factory=dict)
    style: str = "blur"
    motion: str = "jump"

    @property
    def badness(self) -> float:
        """Severity of all together: what `overall` is judged by."""
        return sum(WEIGHTS[axis] * severity for axis, severity in self.severity.items())


def show(caption: Caption, defects: Defects, rng: random.Random) -> tuple[Scene, tuple[str, ...]]:
    """What is drawn for a caption, true or misaligned, and the names of the changes."""
    scene = compose(caption, rng)
    changes = round(defects.severity.get("alignment", 0) * MOST_CHANGES)
    return misalign(scene, changes, rng, caption.unseen) if changes else (scene, ())


def render(scene: Scene, defects: Defects, rng: random.Random, side: int) -> Image.Image:
    """A still of a scene with coherence and style at the given severities."""
    return _finish(draw(scene, side), scene, defects, rng)


def render_clip(
    scene: Scene, defects: Defects, rng: random.Random, side: int, frames: int
) -> list[Image.Image]:
    """Frames of a scene that drifts and turns; temporal defects make it jump, pulse or flash."""
    drift = [(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)) for _ in scene.things]
    severity, seed = defects.severity.get("temporal", 0.0), rng.random()
    signs = _restless(frames, rng) if severity else [0] * frames
    clip = []
    for index, sign in enumerate(signs):
        at = index / max(1, frames - 1)
        jump = sign * (0.03 + 0.06 * severity) if defects.motion == "jump" else 0.0
        pulse = sign * (0.1 + 0.3 * severity) if defects.motion == "pulse" else 0.0
        things = tuple(
            replace(
                t,
                x=t.x + at * dx + jump,
                y=t.y + at * dy - jump,
                radius=t.radius * (1 + pulse),
                angle=20 * at,
            )
            for t, (dx, dy) in zip(scene.things, drift, strict=True)
        )
        moved = replace(scene, things=things)
        frame = _finish(draw(moved, side), moved, defects, random.Random(seed))
        if defects.motion == "flash" and sign:
            frame = ImageEnhance.Brightness(frame).enhance(1 + sign * (0.08 + 0.25 * severity))
        clip.append(frame)
    return clip


def draw(scene: Scene, side: int) -> Image.Image:
    """The scene as an RGB picture, drawn at twice its side and reduced: edges are smooth."""
    big = _ground(scene, 2 * side)
    pen = ImageDraw.Draw(big)
    for thing in scene.things:
        _draw_thing(pen, thing, 2 * side)
    return big.reduce(2)


def tear(picture: Image.Image, scene: Scene, severity: float, rng: random.Random) -> Image.Image:
    """Coherence: a strip through a thing slides out of place, and at high severity a second one."""
    torn, side = picture.copy(), picture.width
    empty = draw(replace(scene, things=()), side)
    for thing in scene.things[: 1 if severity < 0.5 else 2]:
        height = int((0.5 + 0.3 * severity) * thing.radius * side)
        top = int((thing.y - rng.uniform(0.2, 0.6) * thing.radius) * side)
        left, right = (int((thing.x + s * 1.25 * thing.radius) * side) for s in (-1, 1))
        shift = int((0.35 + 0.65 * severity) * thing.radius * side) * rng.choice((-1, 1))
        box = (left, top, right, top + height)
        torn.paste(empty.crop(box), box)
        torn.paste(picture.crop(box), (left + shift, top))
    return torn


def spoil(picture: Image.Image, severity: float, kind: str, rng: random.Random) -> Image.Image:
    """Style: blur, noise, faded or harsh contrast, coarse pixels; stronger with the severity.

    Some raise what others lower, so that no statistic of the whole picture tells them all.
    """
    side = picture.width
    if kind == "blur":
        return picture.filter(ImageFilter.GaussianBlur(side * (0.008 + 0.024 * severity)))
    if kind == "noise":
        noise = np.random.default_rng(rng.getrandbits(32)).normal(
            0, 7 + 11 * severity, (side, side, 1)
        )
        return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    if kind == "fade":
        return ImageEnhance.Contrast(picture).enhance(0.75 - 0.4 * severity)
    if kind == "harsh":
        return ImageEnhance.Contrast(picture).enhance(1.5 + 1.5 * severity)
    block = max(4, int(side * (0.03 + 0.06 * severity)))
    small = picture.resize((side // block, side // block), Image.Resampling.BOX)
    return small.resize((side, side), Image.Resampling.NEAREST)


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture as it comes back from a JPEG file."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _finish(
    picture: Image.Image, scene: Scene, defects: Defects, rng: random.Random
) -> Image.Image:
    severity = defects.severity
    if "coherence" in severity:
        picture = tear(picture, scene, severity["coherence"], rng)
    if "style" in severity:
        picture = spoil(picture, severity["style"], defects.style, rng)
    return picture


def _restless(frames: int, rng: random.Random) -> list[int]:
    """A sign for each frame that changes at least at every second step, at no fixed pace."""
    signs = [rng.choice((-1, 1))]
    for _ in range(frames - 1):
        held = len(signs) > 1 and signs[-1] == signs[-2]
        signs.append(-signs[-1] if held or rng.random() < 0.6 else signs[-1])
    return signs


def _ground(scene: Scene, side: int) -> Image.Image:
    ramp = _ramp(scene.pattern, scene.strength, scene.turn, side)
    return ImageOps.colorize(ramp, *scene.ground)


@lru_cache(maxsize=256)
def _ramp(pattern: str, strength: float, turn: int, side: int) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((side, side))
    if pattern != "plain":
        ramp = Image.blend(ramp, _pattern(pattern, side), strength)
    return ramp.rotate(90 * turn)


def _pattern(name: str, side: int) -> Image.Image:
    if name == "speckle":
        count = side // 4
        grain = np.random.default_rng(0).integers(0, 256, (count, count), dtype=np.uint8)
        return Image.fromarray(grain).resize((side, side), Image.Resampling.NEAREST)
    period = max(2, side // 8)
    y, x = np.mgrid[:side, :side] % period
    half = period // 2
    if name == "stripes":
        on = x < half
    elif name == "checks":
        on = (x < half) ^ (y < half)
    else:
        on = (x - half) ** 2 + (y - half) ** 2 < (period // 4) ** 2
    return Image.fromarray(on.astype(np.uint8) * 255)


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, side: int) -> None:
    x, y, r = thing.x * side, thing.y * side, thing.radius * side
    fill, turn = thing.fill, radians(thing.angle)

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
