"""Ratings inside pictures of many kinds: read back, without a changed pixel, and taken out."""

import os
import shutil
import struct
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import librehps
from librehps.ratings import picture

XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:'
    b'meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Label>Red</xmp:Label><xmp:Rating>1'
    b'</xmp:Rating></rdf:Description></rdf:RDF></x:xmpmeta>' + b" " * 2048 + b'<?xpacket end="w"?>'
)  # fmt: skip


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 255, shape, np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_with_xmp(content: bytes, compressed: bool) -> bytes:
    text = zlib.compress(XMP) if compressed else XMP
    body = b"iTXtXML:com.adobe.xmp\0" + bytes([compressed]) + bytes(3) + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    # Behind the pixels, where some programs write their texts.
    return content[:-12] + chunk + content[-12:]


def pictures() -> dict[str, bytes]:
    rgb, rgba = Image.fromarray(pixels(21, 33, 3)), Image.fromarray(pixels(17, 15, 4))
    grey, still = Image.fromarray(pixels(9, 11)), saved(rgb, "PNG")
    frames = [Image.fromarray(pixels(16, 16, 3) // n) for n in (1, 2, 3)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 100}
    jpeg = saved(rgb, "JPEG")
    bare = jpeg[:2] + jpeg[20:]
    return {
        "rgb.png": still,
        "rgba.png": saved(rgba, "PNG"),
        "palette.png": saved(rgb.quantize(16), "PNG"),
        "deep.png": saved(Image.fromarray(pixels(8, 8).astype(np.uint16) * 257), "PNG"),
        "moving.png": saved(frames[0], "PNG", **moving),
        "trailing.png": still + b"more bytes",
        "xmp.png": png_with_xmp(still, compressed=False),
        "packed.png": png_with_xmp(still, compressed=True),
        "rgb.jpg": jpeg,
        "bare.jpg": bare,
        "grey.jpg": saved(grey, "JPEG"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True, exif=Image.Exif().tobytes()),
        "trailing.jpg": jpeg + b"more bytes",
        "filled.jpg": jpeg[:2] + b"\xff\xff" + jpeg[2:],
        "xmp.jpg": saved(rgb, "JPEG", xmp=XMP + b"\0"),
        "simple.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "alpha.webp": saved(rgba, "WEBP", quality=50),
        "moving.webp": saved(frames[0], "WEBP", **moving),
        "profile.webp": saved(rgb, "WEBP", icc_profile=b"odd", exif=Image.Exif().tobytes()),
        "xmp.webp": saved(rgb, "WEBP", xmp=XMP),
        "trailing.webp": saved(rgb, "WEBP") + b"more",
    }


def shown(content: bytes) -> list[bytes]:
    with Image.open(BytesIO(content)) as image:
        found = []
        for frame in range(getattr(image, "n_frames", 1)):
            image.seek(frame)
            found.append(image.mode.encode() + image.tobytes())
        return found


def test_many_kinds_of_pictures(tmp_path: Path) -> None:
    before = pictures()
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    names = [*before]
    table = pa.table({
        "id": names, "media": [str(tmp_path / name) for name in names],
        "prompt": ["p"] * len(names),
        "overall": np.linspace(0.9, 0.1, len(names)), "overall_mu": np.linspace(2, -2, len(names)),
        "status": ["ok"] * len(names),
    })  # fmt: skip
    scores = librehps.ScoreTable(table)
    done = librehps.tag(scores, embed=True)
    assert (done.changed, done.failed, done.replaced) == (len(names), {}, 3)
    after = {name: (tmp_path / name).read_bytes() for name in names}
    assert {name: shown(content) for name, content in after.items()} == {
        name: shown(content) for name, content in before.items()
    }
    assert librehps.tag(scores, embed=True).unchanged == len(names)
    _check_by_exiftool(tmp_path, names)
    librehps.tag(scores, embed=True, remove=True)
    restored = {name: (tmp_path / name).read_bytes() for name in names}
    # Its packet is as before, but no longer compressed.
    assert XMP in restored.pop("packed.png")
    assert restored == {name: before[name] for name in restored}


def _check_by_exiftool(folder: Path, names: list[str]) -> None:
    if shutil.which("exiftool") is None and not os.environ.get("CI"):
        return
    files = [str(folder / name) for name in names]
    asked = ["exiftool", "-T", "-XMP-xmp:Rating", "-XMP-xmp:Label", "-Warning", *files]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    place = [(2 * rank + 1) * 5 // (2 * len(names)) for rank in range(len(names))]
    assert [row[0] for row in rows] == [str(5 - below) for below in place]
    labelled = [name for name, row in zip(names, rows, strict=True) if row[1] == "Red"]
    assert labelled == ["xmp.png", "packed.png", "xmp.jpg", "xmp.webp"]
    warned = {name: row[2] for name, row in zip(names, rows, strict=True) if row[2] != "-"}
    # What was so before: bytes behind the end, and texts behind the pixels.
    assert warned.keys() == {"trailing.png", "trailing.webp", "xmp.png", "packed.png"}


def scores_of(*files: Path) -> librehps.ScoreTable:
    count = len(files)
    return librehps.ScoreTable(pa.table({
        "id": [file.name for file in files], "media": [str(file) for file in files],
        "prompt": ["p"] * count, "overall": [0.5] * count, "overall_mu": [0.0] * count,
        "status": ["ok"] * count,
    }))  # fmt: skip


def test_a_jpeg_without_room_is_refused(tmp_path: Path) -> None:
    file, packet = tmp_path / "a.jpg", XMP.replace(b" " * 2048, b" " * 65_050)
    file.write_bytes(saved(Image.fromarray(pixels(8, 8, 3)), "JPEG", xmp=packet))
    before = file.read_bytes()
    done = librehps.tag(scores_of(file), embed=True)
    assert "no room for a rating" in done.errors[str(file)]
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_picture_that_is_still_written_is_refused(tmp_path: Path, kind: str) -> None:
    whole = pictures()[f"rgb.{kind}" if kind != "webp" else "simple.webp"]
    file = tmp_path / f"a.{kind}"
    file.write_bytes(whole[: len(whole) - 2])
    done = librehps.tag(scores_of(file), embed=True)
    assert done.errors[str(file)] == "it is damaged or cut short"
    assert file.read_bytes() == whole[: len(whole) - 2]


def test_a_picture_that_changes_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, newer = tmp_path / "a.png", saved(Image.fromarray(pixels(9, 9, 3)), "PNG")
    file.write_bytes(saved(Image.fromarray(pixels(8, 8, 3)), "PNG"))
    real = picture.rated

    def slow(*args: object) -> object:
        file.write_bytes(newer)
        return real(*args)

    monkeypatch.setattr(picture, "rated", slow)
    done = librehps.tag(scores_of(file), embed=True)
    assert "is being written by another program" in done.errors[str(file)]
    assert (file.read_bytes(), len([*tmp_path.iterdir()])) == (newer, 1)


def test_files_of_others_beside_the_picture_are_kept(tmp_path: Path) -> None:
    file, other = tmp_path / "a.png", tmp_path / "a.png.partial"
    file.write_bytes(saved(Image.fromarray(pixels(8, 8, 3)), "PNG"))
    other.write_text("a download")
    assert librehps.tag(scores_of(file), embed=True).changed == 1
    assert other.read_text() == "a download"


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (b"<rdf:Description><a xmlns=''>" + b"<b>" * 300 + b"</b>" * 300, "nested too deeply"),
        (b"<rdf:Description xmlns:xmp='http://ns.adobe.com/xap/1.0/'><xmp:Rating/>",
         "an empty rating"),
        (b"", "no rdf:RDF element"),
    ],
)  # fmt: skip
def test_packets_that_have_no_place_for_a_rating(
    tmp_path: Path, inner: bytes, message: str
) -> None:
    rdf = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    closing = b"</a></rdf:Description>" if b"<a" in inner else b"</rdf:Description>"
    body = b">" + inner + closing + b"</rdf:RDF>" if inner else b"/>"
    file = tmp_path / "a.png"
    file.write_bytes(b"")
    sidecar = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + rdf + body + b"</x:xmpmeta>"
    (tmp_path / "a.png.xmp").write_bytes(sidecar)
    done = librehps.tag(scores_of(file), sidecar="full")
    assert message in done.errors[str(file)]
    assert (tmp_path / "a.png.xmp").read_bytes() == sidecar
