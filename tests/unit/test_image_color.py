"""Colours and transparency as people see them: profiles to sRGB, backgrounds, and their notes."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import Cli
from librehps import LibreHPS
from librehps.media.color import to_srgb
from librehps.media.images import load_picture, load_pixels
from librehps.media.options import MediaOptions
from make_media import picture

BASE = picture(64, 48)
COLORS = np.asarray(BASE).astype(int)
# Primaries in the connection space (D50, Bradford), and a gamma.
P3 = ((0.515121, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885),
      (0.157104, 0.066574, 0.784073), 2.4)  # fmt: skip
GRAY_GAMMA = 1.0


def fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2 with these tags (ICC.1, section 7)."""
    names = [*tags]
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name in names:
        value = tags[name].ljust(-(-len(tags[name]) // 4) * 4, b"\0")
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value
    white = b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    head = (bytes(4) + b"lcms" + bytes.fromhex("02400000") + b"mntr" + space + b"XYZ "
            + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0")  # fmt: skip
    return struct.pack(">I", start + len(body)) + head[4:] + table + body


def xyz(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(fixed, numbers))


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(red: tuple, green: tuple, blue: tuple, gamma: float) -> bytes:
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(gamma))
    return profile(b"RGB ", {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"rXYZ": xyz(*red),
                             b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue), **curves})  # fmt: skip


def gray_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"wtpt": xyz(0.9642, 1.0, 0.8249), b"kTRC": curve(gamma)})


WIDE, LINEAR_GRAY = rgb_profile(*P3), gray_profile(GRAY_GAMMA)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def loaded(source: object, **options: object) -> np.ndarray:
    pixels = load_pixels(source, options=MediaOptions(**options))  # type: ignore[arg-type]
    return pixels.permute(1, 2, 0).numpy().astype(int)


def encoded(image: Image.Image, form: str = "PNG", **more: object) -> bytes:
    file = BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def managed(image: Image.Image, icc: bytes) -> np.ndarray:
    """The image as littleCMS converts it to sRGB, by its default intent."""
    source = ImageCms.ImageCmsProfile(BytesIO(icc))
    made = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"),
                                     outputMode="RGB")  # fmt: skip
    return np.asarray(made).astype(int)


def wide_by_hand() -> np.ndarray:
    """The picture in WIDE as sRGB, computed by the formulas of IEC 61966-2-1."""
    to_xyz = np.array(P3[:3]).T
    srgb = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                     [0.0139322, 0.0971045, 0.7141733]])  # fmt: skip
    light = (COLORS / 255) ** (614 / 256) @ (np.linalg.inv(srgb) @ to_xyz).T
    light = light.clip(0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * 255).astype(int)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_a_wide_profile_is_converted_to_srgb(form: str) -> None:
    content = encoded(
        BASE, form, icc_profile=WIDE, **({"lossless": True} if form == "WEBP" else {})
    )
    stored = np.asarray(Image.open(BytesIO(content)).convert("RGB")).astype(int)
    assert np.abs(loaded(content) - managed(Image.fromarray(stored.astype("u1")), WIDE)).max() <= 1
    assert np.array_equal(loaded(content, color_management=False), stored)
    assert np.abs(loaded(content) - stored).mean() > 3


def test_the_conversion_is_that_of_the_formulas() -> None:
    assert np.abs(loaded(encoded(BASE, icc_profile=WIDE)) - wide_by_hand()).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_gray_profiles(mode: str) -> None:
    image = BASE.convert("L")
    expected = managed(image, LINEAR_GRAY)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype("u2") * 257)
    elif mode == "LA":
        image = image.convert("LA")
    content = encoded(image, icc_profile=LINEAR_GRAY)
    assert np.abs(loaded(content) - expected).max() <= 1


@pytest.mark.parametrize("icc", [SRGB, b"no profile", WIDE[:200], LINEAR_GRAY])
def test_srgb_and_invalid_profiles_change_nothing(icc: bytes) -> None:
    assert np.array_equal(loaded(encoded(BASE, icc_profile=icc)), COLORS)
    assert to_srgb(BASE, icc).tobytes() == BASE.tobytes()


def test_palettes_and_alpha_keep_their_meaning() -> None:
    small = BASE.quantize(32)
    expected = managed(small.convert("RGB"), WIDE)
    assert np.array_equal(loaded(encoded(small, icc_profile=WIDE)), expected)
    clear = BASE.copy()
    clear.putalpha(128)
    found = loaded(encoded(clear, icc_profile=WIDE), background="black")
    assert np.abs(found - managed(BASE, WIDE) * 128 / 255).max() <= 1


def test_pictures_in_memory_follow_the_options(tiny: LibreHPS) -> None:
    with Image.open(BytesIO(encoded(BASE, icc_profile=WIDE))) as image:
        by_image = tiny.score_image(image, "x")
    assert by_image == tiny.score_image(encoded(BASE, icc_profile=WIDE), "x")
    assert by_image != tiny.score_image(BASE, "x")


def half_clear() -> Image.Image:
    """The picture, clear on its left half, with odd colours below."""
    image = BASE.convert("RGBA")
    alpha = np.full((48, 64), 255, "u1")
    alpha[:, :32] = 0
    image.putalpha(Image.fromarray(alpha))
    return image


def keyed(bits: int, color: int) -> bytes:
    """A PNG of one row, of 8 or 16 bits in gray (0) or RGB (2), whose second pixel is the key."""
    samples = [300, 301, 302] if bits == 16 else [10, 20, 30]
    other = [60_000] * 3 if bits == 16 else [200] * 3
    count = 3 if color == 2 else 1
    form = ">" + "HB"[bits == 8] * count
    row = b"\0" + struct.pack(form, *other[:count]) + struct.pack(form, *samples[:count])
    key = struct.pack(f">{count}H", *samples[:count])
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, color, 0, 0, 0)), (b"tRNS", key),
             (b"IDAT", zlib.compress(row)), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("color", [0, 2])
def test_a_transparent_colour(bits: int, color: int) -> None:
    found = loaded(keyed(bits, color), background="#ff8000")
    assert found[0, 1].tolist() == [255, 128, 0]
    assert found[0, 0].tolist() == ([200] * 3 if bits == 8 else [60_000 >> 8] * 3)
    assert loaded(keyed(bits, color), background="keep")[0, 1, 0] < 20


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"),
     ("RGBA", "GIF"), ("RGBA", "AVIF")],
)  # fmt: skip
def test_clear_pixels_show_the_background(mode: str, form: str) -> None:
    image = half_clear()
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    content = encoded(image, form, **({"lossless": True} if form == "WEBP" else {}))
    near = 3 if form == "AVIF" else 0
    for background, level in {"white": 255, "black": 0}.items():
        found = load_picture(content, options=MediaOptions(background))
        assert found.remarks == {"transparent"}
        assert np.abs(found.pixels[:, :, :31].numpy().astype(int) - level).max() <= near
    assert load_picture(content, options=MediaOptions("keep")).remarks == set()


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_premultiplied_and_palettes_in_memory(mode: str) -> None:
    straight = half_clear().convert("LA" if mode == "La" else "RGBA")
    if mode == "PA":
        image = straight.convert("RGB").convert("P").convert("PA")
        image.putalpha(straight.getchannel("A"))
    else:
        image = straight.convert(mode)
    found = loaded(image)
    assert found[:, :32].min() == 255
    assert found[:, 32:].min() < 255


def test_opaque_alpha_costs_nothing() -> None:
    found = load_picture(encoded(BASE.convert("RGBA")))
    assert np.array_equal(found.pixels.permute(1, 2, 0).numpy(), COLORS)
    assert found.remarks == set()


def test_a_cutout_scores_the_same_over_any_colour(tiny: LibreHPS) -> None:
    one = half_clear()
    pixels = np.asarray(one).copy()
    pixels[pixels[..., 3] == 0] = 0
    other = Image.fromarray(pixels)
    assert tiny.score_image(one, "x") == tiny.score_image(other, "x")
    keep = LibreHPS.from_pretrained("tiny", background="keep")
    assert keep.score_image(one, "x") != keep.score_image(other, "x")


def test_transparency_and_pages_are_counted_in_a_note(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("a", "b"):
        half_clear().save(folder / f"{name}.png")
    BASE.save(folder / "c.tif", save_all=True, append_images=[BASE])
    BASE.save(folder / "d.tif")
    command = ("score", folder, "-m", "tiny", "--prompt", "x")
    done = cli(*command, "-o", tmp_path / "x.jsonl", "--background", "#0a0B0c")
    note = "2 images have transparent pixels: shown on #0a0b0c (--background)"
    said = " ".join(done.stderr.split())
    assert note in said and "1 TIFF has several pages: the first one is scored" in said
    assert "1 image has transparent pixels: shown on white" in " ".join(
        cli("score", folder / "a.png", *command[2:]).stderr.split()
    )
    kept = cli(*command, "-o", tmp_path / "y.jsonl", "--background", "keep")
    assert "transparent" not in kept.stderr
    wrong = cli(*command, "-o", tmp_path / "z.jsonl", "--background", "red")
    assert wrong.returncode == 2
    assert "background: expected keep, white, black or #RRGGBB, got 'red'" in wrong.stderr
