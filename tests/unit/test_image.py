"""Pictures of every mode the formats give, and pixels held to plain Pillow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from conftest import MEDIA
from librehps import errors
from librehps.media.image_formats import FORMATS
from librehps.media.images import load_pixels
from librehps.models.librehps.resize import resize, target_size
from make_media import bad_media, picture

BASE = picture()


def rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def loaded(source: object) -> np.ndarray:
    pixels = load_pixels(source)  # type: ignore[arg-type]
    assert pixels.dtype == torch.uint8
    return pixels.permute(1, 2, 0).numpy().astype(int)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_plain_modes_are_those_of_pillow(mode: str) -> None:
    image = BASE.convert("RGBA").convert(mode) if mode == "PA" else BASE.convert(mode)
    assert np.array_equal(loaded(image), rgb(image))


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((".png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((".jpg", mode) for mode in ("L", "RGB", "CMYK")),
        *((".webp", mode) for mode in ("RGB", "RGBA")),
        *((".bmp", mode) for mode in ("1", "L", "P", "RGB")),
        *((".tif", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")),
        *((".gif", mode) for mode in ("L", "P")),
    ],
)
def test_every_mode_that_the_formats_store(tmp_path: Path, suffix: str, mode: str) -> None:
    file = tmp_path / f"x{suffix}"
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(BASE)
    else:
        image = BASE.convert(mode)
    image.save(file)
    pixels = loaded(file)
    near = 12 if suffix in (".jpg", ".webp") else 4 if mode in ("LAB", "YCbCr") else 0
    reference = BASE if mode == "LAB" else image
    assert np.abs(pixels - rgb(reference)).mean() <= near


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_modes(mode: str) -> None:
    straight = BASE.convert(mode[:-1] + "A")
    assert np.abs(loaded(straight.convert(mode)) - rgb(straight)).max() <= 1


GREY = np.asarray(BASE.convert("L"))


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (GREY.astype(np.uint16) * 257, ".png"),
        (GREY.astype(np.uint16) * 257, ".tif"),
        (GREY.astype(np.int32) * (2**31 // 256), ".tif"),
        (GREY.astype(np.float32) / 255, ".tif"),
        (GREY.astype(np.float32), ".tif"),
    ],
)
def test_deep_pictures_are_scaled_not_clipped(
    tmp_path: Path, values: np.ndarray, suffix: str
) -> None:
    file = tmp_path / f"deep{suffix}"
    Image.fromarray(values).save(file)
    assert np.abs(loaded(file)[..., 0] - GREY).max() <= 1


def test_unsigned_32_bit_tiff(tmp_path: Path) -> None:
    values = GREY.astype(np.int64) * (2**32 // 256)
    signed = values.astype(np.uint32).view(np.int32)
    Image.fromarray(signed).save(tmp_path / "x.tif")
    # Pillow writes signed; the sample format tag (339) alone tells the two apart.
    tag = b"\x53\x01\x03\x00\x01\x00\x00\x00"
    content = (tmp_path / "x.tif").read_bytes()
    assert content.count(tag + b"\x02") == 1
    (tmp_path / "x.tif").write_bytes(content.replace(tag + b"\x02", tag + b"\x01"))
    assert np.abs(loaded(tmp_path / "x.tif")[..., 0] - GREY).max() <= 1


def test_nan_pixels_are_refused() -> None:
    with pytest.raises(errors.BrokenMediaError, match="NaN"):
        load_pixels(Image.fromarray(np.full((8, 8), np.nan, np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    t = Image.Transpose
    # What undoes the turn that a viewer makes of each orientation.
    undo = [None, t.FLIP_LEFT_RIGHT, t.ROTATE_180, t.FLIP_TOP_BOTTOM,
            t.TRANSPOSE, t.ROTATE_90, t.TRANSVERSE, t.ROTATE_270][orientation - 1]  # fmt: skip
    stored = BASE if undo is None else BASE.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(loaded(tmp_path / "x.png"), rgb(BASE))


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    BASE.save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with Image.open(tmp_path / "x.jpg") as image:
        assert np.array_equal(loaded(tmp_path / "x.jpg"), rgb(image))


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [BASE.convert("P"), BASE.rotate(90).convert("P")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(loaded(tmp_path / "x.gif"), rgb(frames[0]))


def test_bad_files_each_have_their_error(tmp_path: Path) -> None:
    kinds = {name: kind for name, kind in bad_media(tmp_path).items() if name.endswith(".png")}
    for name, kind in kinds.items():
        with pytest.raises(getattr(errors, kind), match=name) as raised:
            load_pixels(tmp_path / name)
        assert type(raised.value).__name__ == kind


def test_what_a_foreign_file_seems_to_be_is_said(tmp_path: Path) -> None:
    bad_media(tmp_path)
    for name, words in {"eps.png": "PostScript", "text.png": "text", "clip.png": "video"}.items():
        with pytest.raises(errors.UnsupportedMediaError, match=words):
            load_pixels(tmp_path / name)


@pytest.mark.parametrize("size", [1, 10, 100, 1000, 3000])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".gif"])
def test_a_truncated_file_never_passes_for_whole(tmp_path: Path, suffix: str, size: int) -> None:
    file = tmp_path / f"x{suffix}"
    picture(120, 120).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: min(size, len(content) * 3 // 4)])
    with pytest.raises(errors.MediaError):
        load_pixels(file)


def test_folders_pipes_and_missing_files(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(errors.UnsupportedMediaError, match="not a regular file"):
        load_pixels(tmp_path / "pipe.png")
    with pytest.raises(errors.UnsupportedMediaError, match="a folder"):
        load_pixels(tmp_path)
    with pytest.raises(errors.MediaNotFoundError):
        load_pixels(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.full((3, 8, 8), -1.0), r"expected float pixels in \[0, 1\]"),
        (torch.full((3, 8, 8), 255.0), r"expected float pixels in \[0, 1\]"),
        (torch.full((3, 8, 8), float("nan")), r"expected float pixels in \[0, 1\]"),
        (torch.zeros(8, 8, 3), "shape"),
        (torch.zeros(1, 3, 8, 8), "shape"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "int64"),
        (torch.zeros(3, 8, 8, device="meta"), "on the device meta"),
    ],
)
def test_wrong_tensors_are_refused(tensor: Tensor, words: str) -> None:
    with pytest.raises(errors.UnsupportedMediaError, match=words):
        load_pixels(tensor)


def test_only_listed_formats_open(tmp_path: Path) -> None:
    assert set(FORMATS) == {"PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"}
    for suffix in (".ppm", ".ico", ".tga", ".pcx"):
        file = tmp_path / f"x{suffix}"
        BASE.save(file)
        with pytest.raises(errors.UnsupportedMediaError):
            load_pixels(file)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1024, 1024, (448, 448)),
        (1080, 1920, (320, 576)),
        (448, 448, (448, 448)),
        (10, 10, (448, 448)),
        (20, 4000, (32, 6336)),
    ],
)
def test_sizes_of_the_published_model(height: int, width: int, expected: tuple[int, int]) -> None:
    assert target_size(height, width, 200_704) == expected


def test_a_budget_of_zero_only_rounds() -> None:
    assert target_size(1080, 1920, 0) == (1088, 1920)
    assert target_size(10, 10, 0) == (32, 32)


def test_resize_is_on_integers() -> None:
    with Image.open(MEDIA / "sq1024.png") as image:
        pixels = load_pixels(image)[None]
    small = resize(pixels, 200_704)
    assert small.dtype == torch.uint8
    assert small.shape == (1, 3, 448, 448)


@pytest.mark.parametrize(
    ("brand", "words"),
    [
        (b"avif", "an image in AVIF"),
        (b"heic", "an image in HEIC"),
        (b"mif1", "an image in HEIC"),
    ],
)
def test_avif_and_heic_are_named_and_no_video(tmp_path: Path, brand: bytes, words: str) -> None:
    from librehps.media.containers import check_video_file, kind_of

    for name in ("x.avif", "x.mp4"):
        (tmp_path / name).write_bytes(b"\0\0\0\x1cftyp" + brand + bytes(16))
    assert kind_of(tmp_path / "x.avif") == "image"
    with pytest.raises(errors.BrokenMediaError, match="damaged"):
        load_pixels(tmp_path / "x.avif")
    with pytest.raises(errors.UnsupportedMediaError, match=words):
        check_video_file(tmp_path / "x.mp4")


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x10ftypisom" + bytes(4) + b"\0\0\0\x08free" * 40_000,
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff" + b"\xec\x80" * 100_000,
    ],
)
def test_a_video_of_very_many_parts_is_an_error(tmp_path: Path, content: bytes) -> None:
    from librehps.media.containers import check_video_file

    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(errors.UnsupportedMediaError, match=r"x.mp4: too many boxes or elements"):
        check_video_file(tmp_path / "x.mp4")
