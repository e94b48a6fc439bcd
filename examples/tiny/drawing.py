"""Drawing scenes, and defects of a known severity (0 none, 1 worst) on each axis."""

import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from math import cos, pi, radians, sin

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from scenes import Caption, Scene, Thing, compose, misalign

AXES = ("alignment", "coherence", "style", "temporal")
# Share of each axis in the severity that `overall` is judged by.
WEIGHTS = {"alignment": 0.4, "coherence": 0.3, "style": 0.2, "temporal": 0.3}
MOST_CHANGES = 3
STYLES = ("blur", "noise", "pixels", "ghost", "halo", "comb")
# Grains along a side, and rows of a combed picture.
GRAIN, TEETH = 64, 24
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
    """Return the scene drawn for a caption, true or misaligned, and the names of the changes."""
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
        jump = sign * (0.05 + 0.07 * severity) if defects.motion == "jump" else 0.0
        pulse = sign * (0.18 + 0.3 * severity) if defects.motion == "pulse" else 0.0
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
            frame = ImageEnhance.Brightness(frame).enhance(1 + sign * (0.12 + 0.25 * severity))
        clip.append(frame)
    return clip


def draw(scene: Scene, side: int) -> Image.Image:
    """The scene as an RGB picture, drawn at twice its side and reduced: edges are smooth."""
    big = _ground(scene, 2 * side)
    for thing in scene.things:
        _draw_thing(big, thing)
    return big.reduce(2)


def tear(picture: Image.Image, scene: Scene, severity: float, rng: random.Random) -> Image.Image:
    """Coherence: a strip through a thing slides out of place, and at high severity a second one."""
    torn, side = picture.copy(), picture.width
    empty = draw(replace(scene, things=()), side)
    for thing in scene.things[: 1 if severity < 0.5 else 2]:
        height = int((0.6 + 0.3 * severity) * thing.radius * side)
        top = int((thing.y - rng.uniform(0.2, 0.6) * thing.radius) * side)
        left, right = (int((thing.x + s * 1.25 * thing.radius) * side) for s in (-1, 1))
        shift = int((0.35 + 0.65 * severity) * thing.radius * side) * rng.choice((-1, 1))
        box = (left, top, right, top + height)
        torn.paste(empty.crop(box), box)
        torn.paste(picture.crop(box), (left + shift, top))
    return torn


def spoil(picture: Image.Image, severity: float, kind: str, rng: random.Random) -> Image.Image:
    """Style: blur, grain, coarse pixels, a ghost or halos.

    Some raise what others lower, so that no statistic of the whole picture tells them all.
    """
    side = picture.width
    if kind == "blur":
        return picture.filter(ImageFilter.GaussianBlur(side * (0.014 + 0.022 * severity)))
    if kind == "noise":
        return _grainy(picture, 8 + 8 * severity, rng)
    if kind == "ghost":
        shift = int(side * (0.035 + 0.05 * severity))
        moved = ImageChops.offset(picture, rng.choice((-shift, shift)), rng.choice((-shift, shift)))
        over = rng.choice((ImageChops.lighter, ImageChops.darker))(picture, moved)
        return Image.blend(picture, over, 0.6 + 0.3 * severity)
    if kind == "comb":
        return _combed(picture, int(side * (0.02 + 0.03 * severity)))
    if kind == "halo":
        blur = side * (0.02 + 0.02 * severity)
        return picture.filter(ImageFilter.UnsharpMask(blur, int(110 + 100 * severity), 0))
    block = max(4, int(side * (0.05 + 0.06 * severity)))
    small = picture.resize((side // block, side // block), Image.Resampling.BOX)
    return small.resize((side, side), Image.Resampling.NEAREST)


def _combed(picture: Image.Image, shift: int) -> Image.Image:
    """Every second row of teeth slides to the left, the others to the right."""
    pixels = np.array(picture)
    right = np.arange(len(pixels)) * TEETH // len(pixels) % 2 == 1
    pixels[right] = np.roll(pixels[right], shift, axis=1)
    pixels[~right] = np.roll(pixels[~right], -shift, axis=1)
    return Image.fromarray(pixels)


def _grainy(picture: Image.Image, strength: float, rng: random.Random) -> Image.Image:
    """Grey grain of one size whatever the picture's: a finer one is lost when it is reduced."""
    normal = np.random.default_rng(rng.getrandbits(32)).normal(0, strength, (GRAIN, GRAIN))
    grain = Image.fromarray(normal.astype(np.float32)).resize(
        picture.size, Image.Resampling.NEAREST
    )
    noisy = np.asarray(picture) + np.asarray(grain)[..., None]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


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
    """A sign for each frame that changes at once and then at every step or two."""
    first = rng.choice((-1, 1))
    signs = [first, -first]
    for _ in range(frames - 2):
        held = signs[-1] == signs[-2]
        signs.append(-signs[-1] if held or rng.random() < 0.6 else signs[-1])
    return signs


def _ground(scene: Scene, side: int) -> Image.Image:
    ramp = _ramp(scene.pattern, scene.strength, scene.count, scene.turn, side)
    return ImageOps.colorize(ramp, *scene.ground)


@lru_cache(maxsize=512)
def _ramp(pattern: str, strength: float, count: int, turn: int, side: int) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((side, side))
    if pattern != "plain":
        ramp = Image.blend(ramp, _pattern(pattern, count, side), strength)
    return ramp.rotate(90 * turn)


def _pattern(name: str, count: int, side: int) -> Image.Image:
    if name == "speckle":
        grain = np.random.default_rng(0).integers(0, 256, (5 * count, 5 * count), dtype=np.uint8)
        return Image.fromarray(grain).resize((side, side), Image.Resampling.NEAREST)
    period = max(2, side // count)
    y, x = np.mgrid[:side, :side] % period
    half = period // 2
    if name == "stripes":
        on = x < half
    elif name == "checks":
        on = (x < half) ^ (y < half)
    else:
        on = (x - half) ** 2 + (y - half) ** 2 < (period // 4) ** 2
    return Image.fromarray(on.astype(np.uint8) * 255)


def _draw_thing(big: Image.Image, thing: Thing) -> None:
    """Painted from a dark side to a bright one, as light falls on it."""
    mask = Image.new("L", big.size)
    _outline(ImageDraw.Draw(mask), thing, big.width)
    box = mask.getbbox()
    if box is None:
        return
    ramp = _ramp("plain", 0.0, 1, thing.turn, 64).resize((box[2] - box[0], box[3] - box[1]))
    dark, bright = (tuple(min(255, int(c * k)) for c in thing.fill) for k in (thing.shadow, 1.1))
    big.paste(ImageOps.colorize(ramp, dark, bright), box, mask.crop(box))


def _outline(pen: ImageDraw.ImageDraw, thing: Thing, side: int) -> None:
    x, y, r = thing.x * side, thing.y * side, thing.radius * side
    fill, turn = 255, radians(thing.angle)

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
