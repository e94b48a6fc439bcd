"""AVIF, HEIC and JPEG XL, PNGs with damaged notes, and TIFFs of deep samples."""

import importlib.util
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Cli
from librehps import errors
from librehps.media.headers import read_header
from librehps.media.image_formats import open_image
from librehps.media.images import load_pixels
from librehps.media.jxl import is_plain
from librehps.media.media import Media
from librehps.media.options import MediaOptions
from make_media import picture

HEIC = Path(__file__).parents[1] / "data" / "formats" / "picture.heic"
BASE = picture(64, 48)
COLORS = np.asarray(BASE).astype(int)


def loaded(source: object, background: str = "white") -> np.ndarray:
    pixels = load_pixels(source, options=MediaOptions(background))  # type: ignore[arg-type]
    return pixels.permute(1, 2, 0).numpy().astype(int)


def chunk(name: bytes, body: bytes, error: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(
        ">I", zlib.crc32(name + body) ^ error
    )  # fmt: skip


def png_with(tmp_path: Path, extra: bytes, before: bytes = b"IDAT") -> bytes:
    BASE.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    at = content.index(before) - 4
    return content[:at] + extra + content[at:]


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", b"Comment\0hello", error=1),
        chunk(b"pHYs", bytes(9), error=1),
        chunk(b"iCCP", b"p3\0\0" + zlib.compress(bytes(99)), error=1),
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"x" * (2 << 20))),
    ],
)
def test_a_damaged_note_does_not_cost_the_picture(
    tmp_path: Path, extra: bytes, before: bytes
) -> None:
    assert np.array_equal(loaded(png_with(tmp_path, extra, before)), COLORS)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_damaged_critical_chunk_is_an_error(tmp_path: Path, name: bytes) -> None:
    BASE.convert("P").save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    at = content.index(name)
    size = int.from_bytes(content[at - 4 : at], "big")
    content[at + 4 + size] ^= 1
    with pytest.raises(errors.BrokenMediaError):
        loaded(bytes(content))


def test_avif_is_read_by_pillow(tmp_path: Path) -> None:
    BASE.save(tmp_path / "x.avif", quality=95)
    assert np.abs(loaded(tmp_path / "x.avif") - COLORS).mean() < 6
    content = (tmp_path / "x.avif").read_bytes()
    for size in (30, len(content) // 2, len(content) - 9):
        with pytest.raises(errors.BrokenMediaError):
            loaded(content[:size])


def test_heic_and_jpeg_xl_are_read_with_the_extra() -> None:
    pylibjxl = pytest.importorskip("pylibjxl")
    pytest.importorskip("pi_heif")
    assert np.abs(loaded(HEIC) - COLORS).mean() < 3
    lossless = pylibjxl.encode(np.asarray(BASE), lossless=True)
    assert np.array_equal(loaded(lossless), COLORS)
    for content in (HEIC.read_bytes(), lossless):
        for size in (len(content) // 2, len(content) - 9):
            with pytest.raises(errors.BrokenMediaError):
                loaded(content[:size])
        with pytest.raises(errors.DecompressionBombError, match="too many pixels"):
            load_pixels(content, max_pixels=64 * 48 - 1)


def test_an_image_that_pillow_refuses_has_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    BASE.save(content, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2 - 1)
    words = r"x\.png: too many pixels \(3072; at most 178956970\)\. Scale it down"
    with pytest.raises(errors.DecompressionBombError, match=words):
        load_pixels(content.getvalue(), "x.png")


def test_without_the_extra_the_error_names_format_and_command(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec",
        lambda name, *a: None if name in ("pi_heif", "pylibjxl") else found(name, *a),
    )  # fmt: skip
    (tmp_path / "a.heic").write_bytes(HEIC.read_bytes())
    (tmp_path / "b.jxl").write_bytes(b"\xff\x0a" + bytes(99))
    done = cli("score", tmp_path, "-m", "tiny", "--prompt", "x", "-o", tmp_path / "out.jsonl")
    assert done.returncode == 1
    text = (tmp_path / "out.jsonl").read_text()
    assert "a.heic is an image in HEIC, which needs the extra `formats`" in text
    assert "b.jxl is an image in JPEG XL, which needs the extra `formats`" in text
    assert text.count("pip install -c constraints.txt '.[formats]'") == 2


def bits(*fields: tuple[int, int]) -> bytes:
    """The start of a JPEG XL codestream: (value, number of bits), least significant first."""
    number, at = 0, 0
    for value, count in fields:
        number, at = number | value << at, at + count
    return b"\xff\x0a" + number.to_bytes(-(-at // 8) + 8, "little")


# A square of 64 pixels; own metadata, no extra fields, 8 bits of integers, one more bit.
SMALL, OWN = ((1, 1), (7, 5), (1, 3)), ((0, 1), (0, 1), (0, 1), (0, 2), (1, 1))
ALPHA, LOSSY, NO_PROFILE, IN_RGB, IN_GRAY = (1, 2), (1, 1), (0, 1), (0, 2), (1, 2)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([*SMALL, (1, 1)], True),
        ([*SMALL, *OWN, (0, 2), LOSSY, (1, 1)], True),
        ([*SMALL, *OWN, ALPHA, (1, 1), LOSSY, (1, 1)], True),
        ([*SMALL, *OWN, (0, 2), LOSSY, (0, 1), (1, 1)], False),
        # White point D65 and primaries of sRGB, then a gamma of 1 / 2.2, or one of 1.
        ([*SMALL, *OWN, (0, 2), LOSSY, (0, 1), NO_PROFILE, IN_RGB, (1, 2), (1, 2), (1, 1),
          (4_545_500, 24)], True),
        ([*SMALL, *OWN, (0, 2), LOSSY, (0, 1), NO_PROFILE, IN_GRAY, (1, 2), (1, 1),
          (10_000_000, 24)], False),
        # The curve of sRGB (13), then the primaries of P3 (11).
        ([*SMALL, *OWN, (0, 2), LOSSY, (0, 1), NO_PROFILE, IN_RGB, (1, 2), (1, 2), (0, 1), (2, 2),
          (11, 4)], True),
        ([*SMALL, *OWN, (0, 2), LOSSY, (0, 1), NO_PROFILE, IN_RGB, (1, 2), (2, 2), (9, 4), (0, 1),
          (2, 2), (11, 4)], False),
        # Extra fields: an orientation, no size, no preview, and an animation.
        ([*SMALL, (0, 1), (1, 1), (0, 3), (0, 1), (0, 1), (1, 1)], False),
    ],
)  # fmt: skip
def test_jpeg_xl_is_read_in_srgb_only(fields: list[tuple[int, int]], expected: bool) -> None:
    content = bits(*fields)
    assert is_plain(content) is expected
    box = struct.pack(">I4s", 12, b"JXL ") + b"\r\n\x87\n"
    assert is_plain(box + struct.pack(">I4s", 0, b"jxlc") + content) is expected
    if not expected:
        pytest.importorskip("pylibjxl")
        with pytest.raises(errors.UnsupportedMediaError, match=r"not in sRGB.*djxl"):
            load_pixels(content)


TYPES = {"f4": 1.0, "f8": 1.0, "f2": 1.0, "u4": 2**32 - 1, "u2": 65535}


def deep_tiff(
    values: np.ndarray, order: str = "<", predictor: int = 1, planar: int = 1, deflate: bool = True
) -> bytes:
    """A TIFF of one strip per plane, whose pixels are RGB or RGBA of any type."""
    height, width, count = values.shape
    kind = values.dtype.newbyteorder(order)
    planes = [values] if planar == 1 else [values[..., at : at + 1] for at in range(count)]
    data = [_rows(plane.astype(kind), predictor) for plane in planes]
    strips = [zlib.compress(part) if deflate else part for part in data]
    offsets = [8 + sum(map(len, strips[:at])) for at in range(len(strips))]
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [kind.itemsize * 8] * count),
            (259, 3, [8 if deflate else 1]), (262, 3, [2]), (273, 4, offsets), (277, 3, [count]),
            (278, 4, [height]), (279, 4, [len(part) for part in strips]), (284, 3, [planar]),
            (317, 3, [predictor]), *([(338, 3, [2])] if count == 4 else []),
            (339, 3, [{"u": 1, "f": 3}[kind.kind]] * count)]  # fmt: skip
    body = b"".join(strips)
    start = 8 + len(body) + len(body) % 2
    spare, entries, extra = start + 2 + 12 * len(tags) + 4, b"", b""
    for tag, form, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'HI'[form == 4]}", *numbers)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{order}I", spare + len(extra)), extra + packed
        entries += struct.pack(f"{order}HHI", tag, form, len(numbers)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    count_of_tags = struct.pack(f"{order}H", len(tags))
    head = magic + struct.pack(f"{order}I", start)
    return (head + body).ljust(start, b"\0") + count_of_tags + entries + bytes(4) + extra


def _rows(plane: np.ndarray, predictor: int) -> bytes:
    if predictor == 1:
        return plane.tobytes()
    if predictor == 2:
        whole = plane.view(f"{plane.dtype.str[0]}u{plane.dtype.itemsize}").astype(
            f"u{plane.dtype.itemsize}"
        )
        whole[:, 1:] -= whole[:, :-1].copy()
        return whole.astype(plane.dtype.str.replace("f", "u")).tobytes()
    height, width, count = plane.shape
    parts = plane.astype(plane.dtype.newbyteorder(">")).view(np.uint8)
    parts = parts.reshape(height, width * count, -1).transpose(0, 2, 1).reshape(height, -1, count)
    parts = np.ascontiguousarray(parts)
    parts[:, 1:] -= parts[:, :-1].copy()
    return parts.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("predictor", "planar"), [(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)])
def test_deep_colour_tiffs_are_read(kind: str, order: str, predictor: int, planar: int) -> None:
    if predictor == 3 and kind.startswith("u"):
        pytest.skip("this predictor is for floats")
    values = (COLORS / 255 * TYPES[kind]).astype(kind)
    content = deep_tiff(values, order, predictor, planar)
    assert np.abs(loaded(content) - COLORS).max() <= 1


def test_deep_alpha_and_highlights() -> None:
    opacity = np.full((48, 64, 1), 0.5)
    content = deep_tiff(np.concatenate([COLORS / 255, opacity], -1).astype("f4"))
    assert np.abs(loaded(content, "black") - COLORS / 2).max() <= 1
    assert np.abs(loaded(content, "keep") - COLORS).max() <= 1
    values = (COLORS / 255).astype("f4")
    values[0, 0] = 3.0
    found = loaded(deep_tiff(values))
    assert np.abs(found[1:] - COLORS[1:]).max() <= 1
    assert found[0, 0].tolist() == [255, 255, 255]


def test_a_deep_tiff_takes_little_memory_and_names_bad_pixels() -> None:
    values = np.zeros((1024, 1024, 3), "f2")
    values[::2] = 0.5
    content = deep_tiff(values)
    tracemalloc.start()
    pixels = load_pixels(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pixels[:, :2, 0].tolist() == [[128, 0]] * 3
    # Pillow's own pixels are not counted here.
    assert peak < 16 * values[..., 0].size
    values[0, 0] = np.nan
    with pytest.raises(errors.BrokenMediaError, match="the image is damaged: NaN"):
        loaded(deep_tiff(values))


@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_the_last_tile_of_a_deep_tiff_reaches_over_the_edge(predictor: int) -> None:
    values = np.pad((COLORS / 255).astype("f4"), ((0, 0), (0, 32), (0, 0)))
    tiles = [_rows(values[:, at : at + 48], predictor) for at in (0, 48)]
    whole = deep_tiff(values[:, :64], predictor=predictor, deflate=False)
    assert np.abs(loaded(tiled(whole, tiles, 48, 48)) - COLORS).max() <= 1


def tiled(content: bytes, tiles: list[bytes], width: int, height: int) -> bytes:
    """The little-endian TIFF of one strip with its pixels in one row of tiles instead."""
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    entries = [content[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    offsets = [len(content), len(content) + len(tiles[0])]
    body = content + b"".join(tiles)
    ends = [len(body), len(body) + 8]
    body += struct.pack("<IIII", *offsets, *map(len, tiles))
    kept = [
        entry for entry in entries if int.from_bytes(entry[:2], "little") not in (273, 278, 279)
    ]
    for tag, number, value in (
        (322, 1, width),
        (323, 1, height),
        (324, 2, ends[0]),
        (325, 2, ends[1]),
    ):
        kept.append(struct.pack("<HHII", tag, 4, number, value))
    kept.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    directory = struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


def test_a_tiff_that_is_not_read_says_what_it_is() -> None:
    content = deep_tiff((COLORS / 255).astype("f4"))
    at = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content = content[:at] + struct.pack("<H", 6) + content[at + 2 :]
    with pytest.raises(errors.UnsupportedMediaError, match=r"3 samples of 32 .*convert in\.tif"):
        loaded(content)
    for size in (100, 4000):
        with pytest.raises(errors.MediaError):
            loaded(deep_tiff((COLORS / 255).astype("f4"), deflate=False)[:size])


def test_sixteen_bits_in_planes_are_not_taken_for_eight() -> None:
    content = deep_tiff((COLORS * 257).astype("u2"), planar=2, deflate=False)
    assert np.abs(loaded(content) - COLORS).max() <= 1


def directory(tags: int, shared: int) -> bytes:
    """A TIFF, or EXIF data, of tags that all have the same bytes as their value."""
    entries = b"".join(struct.pack("<HHLL", 300 + at, 1, shared, 8) for at in range(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(shared)


MANY = 200_000


@pytest.mark.parametrize(
    ("form", "mark", "parts"),
    [
        ("PNG", b"IDAT", chunk(b"abCd", b"") * MANY),
        ("PNG", b"IDAT", chunk(b"eXIf", directory(20_000, 1 << 18))),
        ("JPEG", b"\xff\xdb", b"\xff\xe5\0\2" * MANY),
        ("JPEG", b"\xff\xdb", b"\xff" * MANY),
        ("JPEG", b"\xff\xdb", b"\1" * 2 * MANY),
        ("GIF", b",", b"!\xff\0" * MANY),
        ("GIF", b",", b"!\xfe" + b"\1a" * MANY + b"\0"),
        ("GIF", b";", bytes(MANY)),
        ("TIFF", b"", directory(20_000, 1 << 18)),
    ],
)
def test_an_image_of_very_many_parts_is_an_error(
    tmp_path: Path, form: str, mark: bytes, parts: bytes
) -> None:
    """Readers would take minutes for a few megabytes of them."""
    BASE.save(tmp_path / f"x.{form}")
    content = (tmp_path / f"x.{form}").read_bytes()
    at = (content.rindex if mark == b";" else content.index)(mark) - 4 * (mark == b"IDAT")
    content = content[:at] + parts + content[at:] if mark else parts
    with pytest.raises(errors.UnsupportedMediaError, match=r"^x: too many .* of [0-9]+ bytes"):
        open_image(content, "x")
    assert read_header(content, "x") is None and not Media(content).is_animated


def test_bytes_after_the_end_of_a_png_do_not_count(tmp_path: Path) -> None:
    BASE.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes() + bytes(12 * MANY)
    assert np.array_equal(loaded(content), COLORS)
