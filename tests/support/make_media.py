"""Real media files, good and bad, written where a test wants them."""

import struct
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """Smooth colours that differ in every corner, with a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 30, (height, width))
    planes = [x * 220 / width, y * 220 / height, 220 - x * 220 / width]
    return Image.fromarray(np.stack([p + noise for p in planes], -1).astype(np.uint8))


def clip(path: Path, frames: int = 12, width: int = 96, height: int = 64, codec: str = "mpeg4",
         options: dict[str, str] | None = None) -> Path:  # fmt: skip
    """A clip whose every frame differs."""
    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        base = np.asarray(picture(width, height))
        for index in range(frames):
            pixels = np.roll(base, index * 7, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode()]:
            file.mux(packet)
    return path


def png(path: Path, width: int, height: int, rows: bytes | None = None) -> Path:
    """A 1-bit PNG of any size, cheap however large it says it is."""

    def chunk(name: bytes, body: bytes) -> bytes:
        check = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)

    rows = rows if rows is not None else b"\0" * ((1 + (width + 7) // 8) * height)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def bad_media(folder: Path) -> dict[str, str]:
    """Write one file of each bad kind; return the expected error type by file name."""
    folder.mkdir(exist_ok=True)
    whole = folder / "truncated.png"
    picture(200, 200).save(whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture\n")
    (folder / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    png(folder / "strip.png", 201 * 8, 8)
    png(folder / "bomb.png", 20_000, 20_000)
    (folder / "text.mp4").write_text("this is no video\n")
    (folder / "listing.txt").write_text("secret")
    (folder / "playlist.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{folder / 'good.mp4'}\n")
    (folder / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{folder / 'good.mp4'}'\n")
    broken = clip(folder / "broken.mp4", options={"movflags": "faststart"})
    content = bytearray(broken.read_bytes())
    body = content.index(b"mdat") + 8
    content[body:] = bytes(len(content) - body)
    broken.write_bytes(content)
    short = clip(folder / "short.mp4", options={"movflags": "faststart"})
    short.write_bytes(short.read_bytes()[:-2000])
    sound_only(folder / "sound.mp4")
    clip(folder / "renamed.png.mp4").rename(folder / "clip.png")
    return {
        "truncated.png": "BrokenMediaError",
        "empty.png": "EmptyFileError",
        "empty.mp4": "EmptyFileError",
        "text.png": "UnsupportedMediaError",
        "eps.png": "UnsupportedMediaError",
        "clip.png": "UnsupportedMediaError",
        "strip.png": "AspectRatioError",
        "bomb.png": "DecompressionBombError",
        "text.mp4": "UnsupportedMediaError",
        "playlist.mp4": "UnsupportedMediaError",
        "concat.mp4": "UnsupportedMediaError",
        "broken.mp4": "BrokenMediaError",
        "short.mp4": "BrokenMediaError",
        "sound.mp4": "NoVideoStreamError",
    }


def two_pictures_and_a_clip(folder: Path) -> Path:
    """Write a.png, sub/b.jpg and c.mp4; give the folder."""
    (folder / "sub").mkdir(parents=True)
    picture(seed=1).save(folder / "a.png")
    picture(200, 90, seed=2).save(folder / "sub" / "b.jpg")
    clip(folder / "c.mp4")
    return folder
