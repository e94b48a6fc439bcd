"""Render the pictures and clips of examples/media.

    python examples/tiny/media.py --out examples/media

Stills answer one prompt, well or with one defect; clips answer another. A .txt holds the prompt.
"""

import argparse
import random
from pathlib import Path

import av
import numpy as np
from PIL import Image

import scenes
from scenes import Scene, Thing

SIDE, FRAMES, RATE = 256, 4, 4
STILLS = Scene(
    "a red circle left of a blue square",
    (Thing("circle", "red", 0.26, 0.45, 0.17), Thing("square", "blue", 0.74, 0.55, 0.17)),
    scenes.BACKGROUNDS[0],
)
CLIPS = Scene(
    "a green star above a yellow cross",
    (Thing("star", "green", 0.45, 0.26, 0.17), Thing("cross", "yellow", 0.55, 0.74, 0.17)),
    scenes.BACKGROUNDS[3],
)


def stills() -> dict[str, Image.Image]:
    """Name -> picture; what is wrong with each is its name."""
    rng = random.Random(7)
    circle, square = STILLS.things
    star = (circle, Thing("star", "blue", *place(square)))
    green = (Thing("circle", "green", *place(circle)), square)
    whole = scenes.draw(STILLS, SIDE)
    return {
        "match": whole,
        "wrong_shape": scenes.draw(Scene("", star, STILLS.background), SIDE),
        "wrong_colour": scenes.draw(Scene("", green, STILLS.background), SIDE),
        "lost_square": scenes.draw(Scene("", (circle,), STILLS.background), SIDE),
        "torn": scenes.tear(whole, STILLS, 0.7, rng),
        "blurred": scenes.spoil(whole, 0.8, "blur", rng),
    }


def clips() -> dict[str, list[Image.Image]]:
    """Name -> frames."""
    return {
        "steady": scenes.render_clip(CLIPS, {}, random.Random(1), SIDE, FRAMES),
        "jumping": scenes.render_clip(CLIPS, {"temporal": 0.9}, random.Random(2), SIDE, FRAMES),
    }


def place(thing: Thing) -> tuple[float, float, float]:
    return thing.x, thing.y, thing.radius


def write_clip(path: Path, frames: list[Image.Image]) -> None:
    """H.264, nearly without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for frame in frames:
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.array(frame), format="rgb24")
            ):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in stills().items():
        picture.save(folder / f"{name}.png", optimize=True)
        (folder / f"{name}.txt").write_text(STILLS.caption + "\n")
    for name, frames in clips().items():
        write_clip(folder / f"{name}.mp4", frames)
        (folder / f"{name}.txt").write_text(CLIPS.caption + "\n")


if __name__ == "__main__":
    main()
