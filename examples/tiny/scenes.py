"""Scenes of coloured shapes, the captions that are true of them, and how they become untrue.

Each picture of a caption is composed anew: places, sizes and ground differ, as they do between the
outputs of a generator.
"""

import random
from dataclasses import dataclass, replace

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
# Never shown in training, though each colour and each shape is.
UNSEEN = frozenset(
    (
        ("purple", "circle"),
        ("orange", "square"),
        ("black", "triangle"),
        ("green", "star"),
        ("white", "cross"),
    )
)
RELATIONS = ("left of", "right of", "above", "below")
# What can be untrue of a picture; those of one thing, and two sets for two things that go together.
CHANGES_OF_ONE = ("colour", "shape", "extra")
CHANGES_OF_TWO = (("colour", "shape", "lose"), ("colour", "shape", "extra", "swap", "exchange"))
MARGIN = 0.04


@dataclass(frozen=True)
class Thing:
    """A shape; centre and radius as shares of the picture's side, angle in degrees."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float = 0.0
    shade: tuple[int, int, int] = (0, 0, 0)
    shadow: float = 1.0
    turn: int = 0

    @property
    def fill(self) -> tuple[int, int, int]:
        """The RGB colour of the thing, in its shade."""
        r, g, b = (c + s for c, s in zip(COLOURS[self.colour], self.shade, strict=True))
        return r, g, b


@dataclass(frozen=True)
class Caption:
    """A caption of one or two (colour, shape); the first is in `relation` to the second."""

    names: tuple[tuple[str, str], ...]
    relation: str | None = None

    @property
    def text(self) -> str:
        first, *rest = (f"{_article(c)} {c} {s}" for c, s in self.names)
        return f"{first} {self.relation} {rest[0]}" if rest else first

    @property
    def unseen(self) -> bool:
        """True if the caption names a combination that training never shows."""
        return not UNSEEN.isdisjoint(self.names)


@dataclass(frozen=True)
class Scene:
    """Things on a ground that runs from one grey-ish colour to another, with a pattern or none."""

    things: tuple[Thing, ...]
    ground: tuple[tuple[int, int, int], tuple[int, int, int]]
    turn: int = 0
    pattern: str = "plain"
    strength: float = 0.0
    count: int = 8


PATTERNS = ("stripes", "checks", "dots", "speckle")
STRENGTHS = (0.35, 0.65, 0.95)
# Stripes, checks or dots along a side.
COUNTS = (6, 8, 11)


def random_caption(rng: random.Random, unseen: bool = False) -> Caption:
    """Two things differ in colour and shape; `unseen`: one at least is of UNSEEN, else none is."""
    while True:
        colours, shapes = rng.sample(list(COLOURS), 2), rng.sample(SHAPES, 2)
        names = tuple(zip(colours, shapes, strict=True))
        relation = rng.choice(RELATIONS) if rng.random() < 0.7 else None
        caption = Caption(names if relation else names[:1], relation)
        if caption.unseen == unseen:
            return caption


def compose(caption: Caption, rng: random.Random) -> Scene:
    """A scene that is true of the caption; things keep apart, and stand clearly as it says."""
    if caption.relation is None:
        radius = rng.uniform(0.14, 0.28)
        spots = [(*_spot(radius, rng), radius)]
    else:
        spots = _related_spots(caption.relation, rng)
    things = tuple(
        _lit(Thing(shape, colour, x, y, radius), rng)
        for (colour, shape), (x, y, radius) in zip(caption.names, spots, strict=True)
    )
    level, tilt = rng.uniform(80, 215), rng.uniform(-55, 55)
    ground = (_grey(level - tilt, rng), _grey(level + tilt, rng))
    look = rng.choice(PATTERNS), rng.choice(STRENGTHS), rng.choice(COUNTS)
    return Scene(things, ground, rng.randrange(4), *look)


def misalign(
    scene: Scene, changes: int, rng: random.Random, unseen: bool = False
) -> tuple[Scene, tuple[str, ...]]:
    """The scene with 1 to 3 changes that make its caption untrue, and their names, sorted.

    A new colour or shape is one that no thing of the scene has; unless `unseen`, the changes make
    no combination of UNSEEN.
    """
    pool: tuple[str, ...] = CHANGES_OF_ONE
    if len(scene.things) == 2:
        # Lost things are as common as extra ones: their number alone tells nothing.
        pool = CHANGES_OF_TWO[rng.random() < 0.4]
    while True:
        kinds = tuple(sorted(rng.sample(pool, changes)))
        things = _changed(scene.things, kinds, rng)
        if unseen or UNSEEN.isdisjoint((t.colour, t.shape) for t in things):
            return replace(scene, things=things), kinds


def cells(scene: Scene, count: int) -> list[tuple[int, int]]:
    """(shape, colour) class of each of count x count cells, row by row; 0 where it is empty."""
    middles = [(i + 0.5) / count for i in range(count)]
    return [_cell(scene, x, y) for y in middles for x in middles]


def place_of(scene: Scene, name: tuple[str, str]) -> tuple[float, float] | None:
    """Centre of the thing of that colour and shape; None where the scene has none."""
    found = [t for t in scene.things if (t.colour, t.shape) == name]
    return (found[0].x, found[0].y) if found else None


def _changed(
    things: tuple[Thing, ...], kinds: tuple[str, ...], rng: random.Random
) -> tuple[Thing, ...]:
    used_colours, used_shapes = {t.colour for t in things}, {t.shape for t in things}
    fresh_colours = [c for c in COLOURS if c not in used_colours]
    fresh_shapes = [s for s in SHAPES if s not in used_shapes]
    rng.shuffle(fresh_colours)
    rng.shuffle(fresh_shapes)
    new = list(things)
    if "lose" in kinds:
        del new[rng.randrange(2)]
    if "swap" in kinds:
        one, two = new
        new = [replace(one, x=two.x, y=two.y), replace(two, x=one.x, y=one.y)]
    if "exchange" in kinds:
        one, two = new
        new = [replace(one, colour=two.colour), replace(two, colour=one.colour)]
    if "colour" in kinds:
        at = rng.randrange(len(new))
        new[at] = replace(new[at], colour=fresh_colours.pop())
    if "shape" in kinds:
        at = rng.randrange(len(new))
        new[at] = replace(new[at], shape=fresh_shapes.pop())
    if "extra" in kinds:
        new.append(_extra(new, fresh_colours.pop(), fresh_shapes.pop(), rng))
    return tuple(new)


def _extra(things: list[Thing], colour: str, shape: str, rng: random.Random) -> Thing:
    radius = rng.uniform(0.09, 0.12)
    while True:
        x, y = _spot(radius, rng)
        if all(_apart(x - t.x, y - t.y, radius + t.radius) for t in things):
            return _lit(Thing(shape, colour, x, y, radius), rng)
        # Where there is no room left, a smaller one finds it.
        radius = max(0.05, radius * 0.97)


def _related_spots(relation: str, rng: random.Random) -> list[tuple[float, float, float]]:
    axis, sign = (0 if relation in ("left of", "right of") else 1), 1
    if relation in ("right of", "below"):
        sign = -1
    while True:
        radii = [rng.uniform(0.11, 0.19) for _ in range(2)]
        one, two = (_spot(radius, rng) for radius in radii)
        along, across = sign * (two[axis] - one[axis]), abs(two[1 - axis] - one[1 - axis])
        gap = (two[0] - one[0], two[1] - one[1])
        if along > 0.3 and across < 0.6 * along and _apart(*gap, sum(radii)):
            return [(*one, radii[0]), (*two, radii[1])]


def _spot(radius: float, rng: random.Random) -> tuple[float, float]:
    edge = MARGIN + 1.1 * radius
    return rng.uniform(edge, 1 - edge), rng.uniform(edge, 1 - edge)


def _grey(level: float, rng: random.Random) -> tuple[int, int, int]:
    """Nearly grey: what colour there is differs from draw to draw."""
    r, g, b = (min(255, max(0, int(level + rng.uniform(-25, 25)))) for _ in range(3))
    return r, g, b


def _lit(thing: Thing, rng: random.Random) -> Thing:
    """The thing in a shade of its colour, darker towards one side."""
    shade = (rng.randint(-20, 20), rng.randint(-20, 20), rng.randint(-20, 20))
    return replace(thing, shade=shade, shadow=rng.uniform(0.45, 0.9), turn=rng.randrange(4))


def _apart(dx: float, dy: float, radii: float) -> bool:
    return max(abs(dx), abs(dy)) > 1.15 * radii


def _cell(scene: Scene, x: float, y: float) -> tuple[int, int]:
    for thing in scene.things:
        if max(abs(x - thing.x), abs(y - thing.y)) < max(thing.radius, 0.125):
            return 1 + SHAPES.index(thing.shape), 1 + list(COLOURS).index(thing.colour)
    return 0, 0


def _article(colour: str) -> str:
    return "an" if colour == "orange" else "a"
