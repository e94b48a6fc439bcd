"""Precision, recall and cost of `--distinct`: planted near-duplicates, and random hashes.

    python benchmarks/distinct.py [--pictures 1000] [--rows 1000000]

Of the pictures, a fifth are near-duplicates of another one: saved with other qualities, in another
size, cropped by 2 to 4 %, brighter or darker, or with a small text. The others are scenes of five
prompts, which look much alike, and textures with the spectrum of photographs. A picture that is
left out is right if its original, or another copy of it, stays. `--rows` measures one group of as
many hashes, a fifth of them near another one.
"""

import argparse
import io
import random
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "tiny"))
from PIL import Image, ImageDraw, ImageEnhance

import drawing
import scenes
from librehps.decide.distinct import DEFAULT_BITS
from librehps.decide.near_hashes import apart
from librehps.media.perceptual_hash import perceptual_hash

SIDE, PROMPTS, COPIES_EACH = 256, 5, 5
BITS = (24, 32, 40, DEFAULT_BITS, 52, 64)


@dataclass(frozen=True)
class Planted:
    """A picture, the number of its original, and how it was made of that (`` for an original)."""

    picture: Image.Image
    original: int
    way: str = ""


@dataclass(frozen=True)
class Found:
    """How many pictures were left out, how many of them rightly, and those that should have been.

    `missed` counts the others by the way they were made.
    """

    dropped: int
    right: int
    copies: int
    missed: Counter[str]

    @property
    def precision(self) -> float:
        return self.right / self.dropped if self.dropped else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.copies


def saved(picture: Image.Image, form: str, quality: int) -> Image.Image:
    """Return the picture after it was saved and read again."""
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(picture: Image.Image, share: float, rng: random.Random) -> Image.Image:
    """Return the picture without a share of its width and of its height, as saved again."""
    width, height = picture.size
    left, top = (rng.random() * share * side for side in picture.size)
    box = (left, top, left + width * (1 - share), top + height * (1 - share))
    return saved(picture.crop(tuple(map(round, box))), "JPEG", 90)


def lettered(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture with a small text."""
    copy = picture.copy()
    place = (picture.width * rng.uniform(0.03, 0.6), picture.height * rng.uniform(0.03, 0.9))
    ImageDraw.Draw(copy).text(place, "(c) someone 2026", fill=rng.choice(["white", "black"]))
    return copy


def resized(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


WAYS: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "quality": lambda p, rng: saved(p, rng.choice(["JPEG", "WEBP"]), rng.choice([95, 75, 50, 20])),
    "size": lambda p, rng: resized(p, rng.uniform(0.4, 1.8)),
    "crop 2 %": lambda p, rng: cropped(p, 0.02, rng),
    "crop 4 %": lambda p, rng: cropped(p, 0.04, rng),
    "brightness": lambda p, rng: ImageEnhance.Brightness(p).enhance(rng.choice([0.8, 0.9, 1.15])),
    "text": lettered,
}


def scene(number: int) -> Image.Image:
    """Return a scene of one of a few prompts."""
    rng = random.Random(f"scene {number}")
    caption = scenes.random_caption(random.Random(f"prompt {number % PROMPTS}"))
    return drawing.render(scenes.compose(caption, rng), drawing.Defects(), rng, SIDE).convert("RGB")


def texture(number: int) -> Image.Image:
    """Return noise whose power falls with the frequency as it does in photographs."""
    rng = np.random.default_rng(number)
    steps = np.fft.fftfreq(SIDE)
    frequency = np.hypot(steps[:, None], steps)
    frequency[0, 0] = 1
    waves = frequency ** -rng.uniform(1.1, 1.6) * np.exp(2j * np.pi * rng.random((3, SIDE, SIDE)))
    planes = np.fft.ifft2(waves).real
    planes[1:] = 0.6 * planes[:1] + 0.4 * planes[1:]
    planes = (planes - planes.mean((1, 2), keepdims=True)) / planes.std((1, 2), keepdims=True)
    values = np.clip(50 * planes + rng.uniform(90, 160, (3, 1, 1)), 0, 255).astype(np.uint8)
    return Image.fromarray(values.transpose(1, 2, 0))


def planted(count: int, seed: int = 0) -> list[Planted]:
    """Return pictures in a random order, a fifth of which are near-duplicates of others."""
    rng = random.Random(seed)
    originals = count - count // COPIES_EACH
    found = [Planted((scene if at % 2 else texture)(at), at) for at in range(originals)]
    ways = list(WAYS)
    for at in range(count - originals):
        source, way = rng.randrange(originals), ways[at % len(ways)]
        found.append(Planted(WAYS[way](found[source].picture, rng), source, way))
    rng.shuffle(found)
    return found


def hashed(pictures: Sequence[Planted]) -> np.ndarray:
    """Return the hash of each picture, (pictures, 4) words."""
    tensors = (torch.from_numpy(np.array(one.picture)).permute(2, 0, 1) for one in pictures)
    digits = "".join(perceptual_hash(tensor[None]) for tensor in tensors)
    return np.frombuffer(bytes.fromhex(digits), np.uint64).reshape(len(pictures), -1)


def judged(pictures: Sequence[Planted], kept: np.ndarray) -> Found:
    """Return what the choice of pictures got right; all but one of each original are copies."""
    looks: dict[int, list[int]] = defaultdict(list)
    for at, one in enumerate(pictures):
        looks[one.original].append(at)
    right, missed = 0, Counter[str]()
    for some in looks.values():
        stay = [at for at in some if kept[at]]
        right += len(some) - max(1, len(stay))
        # One stays: the others of the same look should not.
        missed.update(sorted((pictures[at].way for at in stay), key=bool)[1:])
    return Found(int((~kept).sum()), right, len(pictures) - len(looks), missed)


def random_hashes(rows: int, seed: int = 0) -> np.ndarray:
    """Return hashes in a random order, a fifth of which differ from another in up to 20 bits."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, (rows, 4), dtype=np.uint64)
    copies = rows // COPIES_EACH
    bits = np.unpackbits(hashes[copies : 2 * copies].view(np.uint8), axis=1)
    for _ in range(20):
        bits[np.arange(copies), rng.integers(0, 256, copies)] ^= 1
    hashes[:copies] = np.packbits(bits, axis=1).view(np.uint64)
    return hashes[rng.permutation(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--bits", type=int, default=DEFAULT_BITS, help="of --rows")
    options = parser.parse_args()
    pictures = planted(options.pictures)
    started = time.process_time()
    words = hashed(pictures)
    cost = (time.process_time() - started) / len(pictures)
    print(f"{len(pictures)} pictures of {SIDE} pixels, {1e3 * cost:.2f} ms of CPU time for a hash")
    for bits in BITS:
        found = judged(pictures, apart(words, bits))
        missed = ", ".join(f"{way or 'original'} {n}" for way, n in found.missed.most_common())
        print(
            f"{bits} bits: precision {found.precision:.3f}, recall {found.recall:.3f}"
            f" ({found.right} of {found.copies}); missed: {missed or 'none'}"
        )
    if options.rows:
        hashes = random_hashes(options.rows)
        started = time.process_time()
        looks = int(apart(hashes, options.bits).sum())
        seconds = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{options.rows} hashes in one group, {options.bits} bits: {looks} looks, "
            f"{seconds:.1f} s of CPU time, peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
