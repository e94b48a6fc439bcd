"""Render the pictures and clips of examples/media.

    python examples/tiny/media.py --out examples/media

Stills answer one prompt, well or with one defect; clips answer another. A .txt holds the prompt.
"""

import argparse
import random
from dataclasses import replace
from pathlib import Path

from PIL import Image

import drawing
from drawing import Defects
from files import write_clip
from scenes import Caption, Scene, Thing

SIDE, FRAMES = 256, 4
STILLS = Caption((("red", "circle"), ("blue", "square")), "left of")
CLIPS = Caption((("blue", "star"), ("yellow", "cross")), "above")
GROUND = ((196, 206, 214), (186, 196, 206))


def stills() -> dict[str, Image.Image]:
    """Name -> picture; what is wrong with each is its name."""
    rng = random.Random(7)
    circle = Thing("circle", "red", 0.26, 0.45, 0.17)
    square = Thing("square", "blue", 0.74, 0.55, 0.17)
    scene = Scene((circle, square), GROUND)
    swapped = (replace(circle, x=square.x, y=square.y), replace(square, x=circle.x, y=circle.y))
    untrue = {
        "wrong_shape": (circle, replace(square, shape="star")),
        "wrong_colour": (replace(circle, colour="green"), square),
        "lost_square": (circle,),
        "swapped": swapped,
    }
    whole = drawing.draw(scene, SIDE)
    return {
        "match": whole,
        "torn": drawing.tear(whole, scene, 0.7, rng),
        "blurred": drawing.spoil(whole, 0.8, "blur", rng),
        **{n: drawing.draw(replace(scene, things=t), SIDE) for n, t in untrue.items()},
    }


def clips() -> dict[str, list[Image.Image]]:
    """Name -> frames."""
    star = Thing("star", "blue", 0.45, 0.26, 0.17)
    cross = Thing("cross", "yellow", 0.55, 0.74, 0.17)
    scene = Scene((star, cross), GROUND)
    shown = {"steady": Defects(), "jumping": Defects({"temporal": 0.9}, motion="jump")}
    return {
        name: drawing.render_clip(scene, defects, random.Random(1), SIDE, FRAMES)
        for name, defects in shown.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in stills().items():
        picture.save(folder / f"{name}.png", optimize=True)
        (folder / f"{name}.txt").write_text(STILLS.text + "\n")
    for name, frames in clips().items():
        write_clip(folder / f"{name}.mp4", frames)
        (folder / f"{name}.txt").write_text(CLIPS.text + "\n")


if __name__ == "__main__":
    main()
