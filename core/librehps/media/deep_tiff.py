"""TIFFs of samples that Pillow has no mode for: floats and integers of 16 to 64 bits in colour.

Pillow's libtiff undoes the compression: each plane is opened as an 8-bit image as wide as a row
has bytes. Samples are then put together here.
"""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from librehps.errors import BrokenMediaError, DecompressionBombError, UnsupportedMediaError
from librehps.media.rgb import bands, full_scale, to_bytes

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
    tags = tags_of(content, name)
    order = "<" if content[:1] == b"I" else ">"
    kind = np.dtype(order + _sample_type(tags, name))
    width, height, count = (int(tags.get(tag, 1)) for tag in (WIDTH, HEIGHT, SAMPLES))
    if min(width, height, count, _tile_width(tags)) < 1:
        raise BrokenMediaError(f"{name} has no pixels")
    sample_bytes = _padded_width(tags) * height * count * kind.itemsize
    if width * height > max_pixels or sample_bytes > MAX_SAMPLE_BYTES:
        raise DecompressionBombError(f"{name}: too many samples ({width} x {height} x {count})")
    samples = np.empty((height, width, count), kind)
    together = 1 if tags.get(PLANAR, 1) == 2 else count
    for plane in range(count // together):
        at = plane * together
        _read_plane(samples[..., at : at + together], content, tags, plane)
    image = Image.fromarray(_colored(samples, tags))
    if tags.get(ICC):
        image.info["icc_profile"] = bytes(tags[ICC])
    image.getexif()[ORIENTATION] = tags.get(ORIENTATION, 1)
    return image


def header(content: bytes, name: str) -> tuple[int, int, int]:
    """Return the width, the height, and the bytes that decoding a pixel takes at most."""
    tags = tags_of(content, name)
    sample_bytes = np.dtype(_sample_type(tags, name)).itemsize
    # Samples, the rows that Pillow undoes the compression of, and RGBA three times over.
    taken = 2 * int(tags.get(SAMPLES, 1)) * sample_bytes + 12
    return int(tags[WIDTH]), int(tags[HEIGHT]), taken


def tags_of(content: bytes, name: str) -> dict[int, Any]:
    """Return the tags of the first image by number; raises MediaError."""
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


def _read_plane(target: np.ndarray, content: bytes, tags: dict[int, Any], plane: int) -> None:
    """Fill the (H, W, together) target with all planes at once, or with one of separate planes."""
    kind, together = target.dtype, target.shape[2]
    pixel_bytes = together * kind.itemsize
    image = _as_bytes(content, tags, pixel_bytes, together, plane)
    # A predictor works on each row of a tile.
    width, predictor, at = _tile_width(tags), tags.get(PREDICTOR, 1), 0
    for band in bands(target):
        raw = np.asarray(image.crop((0, at, image.width, at + len(band))))
        at += len(band)
        for left in range(0, band.shape[1], width):
            part = raw[:, left * pixel_bytes : (left + width) * pixel_bytes]
            tile = band[:, left : left + width]
            tile[...] = _unpredicted(part, kind, together, predictor)[:, : tile.shape[1]]


def _unpredicted(raw: np.ndarray, kind: np.dtype[Any], together: int, predictor: int) -> np.ndarray:
    """Return the samples of rows of bytes; a predictor's rows hold differences.

    See TIFF 6.0, section 14, and its technical note 3.
    """
    raw = np.ascontiguousarray(raw)
    if predictor == 1:
        return raw.view(kind).reshape(len(raw), -1, together)
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
    directory[WIDTH] = _padded_width(tags) * pixel_bytes
    if TILE_WIDTH in tags:
        directory[TILE_WIDTH] = _tile_width(tags) * pixel_bytes
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


def _tile_width(tags: dict[int, Any]) -> int:
    """Return the width of a tile in pixels; rows of strips are as wide as the image."""
    return int(tags.get(TILE_WIDTH, tags[WIDTH]))


def _padded_width(tags: dict[int, Any]) -> int:
    """Return the width of whole tiles: a predictor's bytes may lie anywhere in the last one."""
    tile = _tile_width(tags)
    return -(-int(tags[WIDTH]) // tile) * tile


def _header(content: bytes) -> bytes:
    return (b"II*\0" if content[:1] == b"I" else b"MM\0*") + bytes(4)


def _colored(samples: np.ndarray, tags: dict[int, Any]) -> np.ndarray:
    """Return (H, W, count) samples as 8-bit RGB, or RGBA where an extra sample is alpha."""
    if samples.dtype.kind == "f":
        scale = full_scale((_straight(band, tags)[0] for band in bands(samples)), is_float=True)
    else:
        scale = float(np.iinfo(samples.dtype).max)
    pixels = np.empty((*samples.shape[:2], 4 if _has_alpha(tags) else 3), np.uint8)
    at = 0
    for band in bands(samples):
        colors, opacity = _straight(band, tags)
        levels = to_bytes(colors, scale)
        target = pixels[at : at + len(band)]
        at += len(band)
        target[..., :3] = 255 - levels if tags[PHOTOMETRIC] == MIN_IS_WHITE else levels
        if opacity is not None:
            target[..., 3] = np.rint(opacity * 255)
    return pixels


def _straight(samples: np.ndarray, tags: dict[int, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the colours, not multiplied by alpha, and the opacity, 0 to 1, if there is any."""
    count = 3 if tags[PHOTOMETRIC] == RGB else 1
    colors = samples[..., :count]
    if not _has_alpha(tags):
        return colors, None
    full = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    opacity = (samples[..., count].astype(np.float64) / full).clip(0, 1)
    if _many(tags[EXTRA])[0] == ASSOCIATED:
        colors = colors.astype(np.float64) / np.maximum(opacity, 1e-6)[..., None]
        colors *= (opacity > 0)[..., None]
    return colors, opacity


def _has_alpha(tags: dict[int, Any]) -> bool:
    return _many(tags.get(EXTRA, ()))[:1] in ((ASSOCIATED,), (UNASSOCIATED,))
