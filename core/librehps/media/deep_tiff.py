"""TIFFs of samples that Pillow has no mode for: floats and integers of 16 to 64 bits in colour.

Pillow's libtiff undoes the compression: each plane is opened as an 8-bit image as wide as a row
has bytes. Samples are then put together here.
"""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from librehps.errors import BrokenMediaError, DecompressionBombError, UnsupportedMediaError
from librehps.media.rgb import scaled

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS, PLANAR, PREDICTOR) = (
    256, 257, 258, 259, 262, 274, 277, 278, 284, 317)  # fmt: skip
STRIPS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 273, 279, 322, 323, 324, 325
EXTRA, FORMAT, ICC = 338, 339, 34675
NEEDED = {WIDTH, HEIGHT, PHOTOMETRIC}
TYPES = {1: "u", 2: "i", 3: "f"}
HORIZONTAL, FLOATING_POINT = 2, 3
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
ASSOCIATED, UNASSOCIATED = 1, 2
MAX_SAMPLE_BYTES = 1 << 30
REMEDY = "Convert it first: convert in.tif -depth 8 out.png"


def is_misread(image: Any) -> bool:
    """Return whether Pillow opened the TIFF, but would take samples of 16 bits for 8 bits."""
    bits = _many(image.tag_v2.get(BITS, 1))
    return image.tag_v2.get(PLANAR) == 2 and len(bits) > 1 and max(bits) > 8


def open_deep(content: bytes, name: str, max_pixels: int) -> Image.Image:
    """Return the decoded TIFF as RGB or RGBA; raises MediaError, UnsupportedMediaError for others.

    Colours are taken as they are stored, not as linear light.
    """
    tags = _tags(content, name)
    order = "<" if content[:1] == b"I" else ">"
    kind = np.dtype(order + _sample_type(tags, name))
    width, height, count = (int(tags.get(tag, 1)) for tag in (WIDTH, HEIGHT, SAMPLES))
    if width * height > max_pixels or width * height * count * kind.itemsize > MAX_SAMPLE_BYTES:
        raise DecompressionBombError(f"{name}: too many samples ({width} x {height} x {count})")
    is_planar = tags.get(PLANAR, 1) == 2 and count > 1
    together = 1 if is_planar else count
    planes = [_plane(content, tags, kind, together, at) for at in range(count if is_planar else 1)]
    image = _colored(np.concatenate(planes, -1), tags, kind)
    if tags.get(ICC):
        image.info["icc_profile"] = bytes(tags[ICC])
    image.getexif()[ORIENTATION] = tags.get(ORIENTATION, 1)
    return image


def _tags(content: bytes, name: str) -> dict[int, Any]:
    header = 16 if content[2:3] == b"+" or content[3:4] == b"+" else 8
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(content[:header])
        file = BytesIO(content)
        file.seek(directory.next)
        directory.load(file)
        tags = {tag: directory[tag] for tag in directory}
    except (SyntaxError, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise BrokenMediaError(f"{name} is damaged: its header cannot be read") from error
    if not tags.keys() >= NEEDED or not tags.keys() & {STRIPS, TILES}:
        raise BrokenMediaError(f"{name} is damaged: its header is not whole")
    return tags


def _sample_type(tags: dict[int, Any], name: str) -> str:
    """Return the samples' type as in numpy: f4, u2; raises UnsupportedMediaError for others."""
    bits, formats = {*_many(tags.get(BITS, 1))}, {*_many(tags.get(FORMAT, 1))}
    count, photometric = tags.get(SAMPLES, 1), tags.get(PHOTOMETRIC)
    is_read = (
        len(bits) == len(formats) == 1
        and bits <= {8, 16, 32, 64}
        and formats <= TYPES.keys()
        and not (formats == {3} and bits == {8})
        and photometric in (MIN_IS_WHITE, MIN_IS_BLACK, RGB)
        and count >= (3 if photometric == RGB else 1)
        and tags.get(PREDICTOR, 1) in (1, HORIZONTAL, FLOATING_POINT)
    )
    if not is_read:
        depth = ", ".join(map(str, sorted(bits)))
        compression = TiffImagePlugin.COMPRESSION_INFO.get(tags.get(COMPRESSION, 1), "unknown")
        raise UnsupportedMediaError(
            f"{name} is a TIFF of {count} samples of {depth} bits, photometric {photometric}, "
            f"compression {compression}, which is not read. {REMEDY}"
        )
    return f"{TYPES[formats.pop()]}{bits.pop() // 8}"


def _many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _plane(
    content: bytes, tags: dict[int, Any], kind: np.dtype[Any], together: int, plane: int
) -> np.ndarray:
    """Return (H, W, together) samples: all planes at once, or one of separate planes."""
    raw = np.asarray(_as_bytes(content, tags, together * kind.itemsize, together, plane))
    predictor = tags.get(PREDICTOR, 1)
    if predictor == 1:
        return raw.view(kind).reshape(len(raw), -1, together)
    # A predictor works on each row of a tile.
    step = tags.get(TILE_WIDTH, tags[WIDTH]) * together * kind.itemsize
    parts = [
        _unpredicted(raw[:, at : at + step], kind, together, predictor)
        for at in range(0, raw.shape[1], step)
    ]
    return np.concatenate(parts, 1)


def _unpredicted(raw: np.ndarray, kind: np.dtype[Any], together: int, predictor: int) -> np.ndarray:
    """Return samples whose rows hold differences (TIFF 6.0, section 14, and its note 3)."""
    if predictor == HORIZONTAL:
        whole = kind.newbyteorder("=").str.replace("f", "u")
        values = raw.view(kind.str.replace("f", "u")).reshape(len(raw), -1, together)
        sums = np.cumsum(values.astype(whole), 1, dtype=whole)
        return sums.view(kind.newbyteorder("="))
    sums = np.cumsum(raw.reshape(len(raw), -1, together), 1, dtype=np.uint8)
    # The bytes of a row lie apart, the most significant of all samples first.
    ordered = sums.reshape(len(raw), kind.itemsize, -1).transpose(0, 2, 1)
    values = np.ascontiguousarray(ordered).view(kind.newbyteorder(">"))
    return values.reshape(len(raw), -1, together)


def _as_bytes(
    content: bytes, tags: dict[int, Any], pixel_bytes: int, together: int, plane: int
) -> Image.Image:
    """Return the decompressed rows of a plane as an 8-bit image."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(_header(content))
    kept = (HEIGHT, COMPRESSION, ROWS, TILE_HEIGHT)
    directory.update({tag: tags[tag] for tag in kept if tag in tags})
    for tag in (WIDTH, TILE_WIDTH):
        if tag in tags:
            directory[tag] = tags[tag] * pixel_bytes
    directory.update({BITS: 8, PHOTOMETRIC: MIN_IS_BLACK, SAMPLES: 1})
    planes = tags.get(SAMPLES, 1) if together < tags.get(SAMPLES, 1) else 1
    for tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES):
        if tag in tags:
            places = _many(tags[tag])
            share = len(places) // planes
            directory[tag] = places[plane * share : (plane + 1) * share]
    if TILES in directory:
        # Pillow moves the offsets of strips only.
        start = 8 + len(directory.tobytes(8))
        directory[TILES] = tuple(place + start for place in _many(directory[TILES]))
    # Written before the old file, by whose start Pillow moves the offsets of strips.
    pointer = (8).to_bytes(4, "little" if content[:1] == b"I" else "big")
    rewritten = _header(content)[:4] + pointer + directory.tobytes(8) + content
    image = TiffImagePlugin.TiffImageFile(BytesIO(rewritten))
    image.load()
    return image


def _header(content: bytes) -> bytes:
    return (b"II*\0" if content[:1] == b"I" else b"MM\0*") + bytes(4)


def _colored(samples: np.ndarray, tags: dict[int, Any], kind: np.dtype[Any]) -> Image.Image:
    """Return (H, W, count) samples as RGB, or RGBA where an extra sample is alpha."""
    colors = 3 if tags[PHOTOMETRIC] == RGB else 1
    is_float = kind.kind == "f"
    values = samples[..., :colors].astype(np.float64)
    extra = _many(tags.get(EXTRA, ()))[:1]
    alpha = samples[..., colors] if extra in ((ASSOCIATED,), (UNASSOCIATED,)) else None
    opacity = None
    if alpha is not None:
        full = 1.0 if is_float else float(np.iinfo(kind).max)
        opacity = (alpha.astype(np.float64) / full).clip(0, 1)
        if extra == (ASSOCIATED,):
            values = values / np.maximum(opacity, 1e-6)[..., None] * (opacity > 0)[..., None]
    pixels = scaled(values, is_float) if is_float else _by_type(values, kind)
    if tags[PHOTOMETRIC] == MIN_IS_WHITE:
        pixels = 255 - pixels
    pixels = np.repeat(pixels, 3, -1) if colors == 1 else pixels
    if opacity is None:
        return Image.fromarray(pixels)
    return Image.fromarray(np.dstack([pixels, np.rint(opacity * 255).astype(np.uint8)]))


def _by_type(values: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Return integers scaled by the largest value of their type."""
    return np.rint(values.clip(0) * (255 / np.iinfo(kind).max)).clip(0, 255).astype(np.uint8)
