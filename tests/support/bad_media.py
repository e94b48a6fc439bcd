"""Hundreds of bad media files of dozens of kinds under awkward names, and good ones among them."""

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from librehps.files import printable
from make_media import clip, picture, png, sound_only

# Writes variant n of its kind to the path, whose suffix it has chosen.
Write = Callable[[Path, int], object]
OK = "ok"
# Parts of names that a shell, a terminal, rich or a decoder might trip over. The folder of the
# fourth closes a markup tag in the path.
NAMES = ("{}", "new\nline {}", "quote'\"{}`", "[/red]{}", "[bold red]{}", "-{}", "--help {}",
         " {} ", "trailing {} ", "🐱{}", "\u202egnp{}", "bytes \udcff\udc80{}", "\x1b[31m{}\x07",
         "tab\t{}\r", "back\\slash {}", "%FF {}", "$(exit {})", "glob*?{}", "~{}", "cafe\u0301{}",
         "zero\u200bwidth {}", "file:{}", "pipe:{}", "data,{}", "a.txt.{}", "é" * 90 + "{}",
         "\x7f{}", "{{x}} {}", "#{};&|", "\u2028{}", "concat:{}|")  # fmt: skip
FOREIGN = {
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>\n",
    "psd": b"8BPS\0\1" + bytes(34),
    "zip": b"PK\x03\x04" + bytes(99),
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "json": b'{"error": "not found"}',
    "zeros": bytes(4096),
    "ppm": b"P6\n1 1\n255\n\0\0\0",
}


def write_bad_folder(folder: Path, count: int = 500) -> dict[str, str]:
    """`count` bad files and some good: id -> type of the error of its row, or "ok"."""
    kinds = list(bad_kinds().values())
    expected = {}
    for index in range(count):
        suffix, error, write = kinds[index % len(kinds)]
        path = _place(folder / "bad", f"{index:03}", suffix, index)
        write(path, index // len(kinds))
        expected[_id(path, folder)] = error
    for index, (suffix, write) in enumerate(good_kinds().values()):
        path = _place(folder / "good", f"{index:03}", suffix, index)
        write(path, index)
        expected[_id(path, folder)] = OK
    return expected


def _place(folder: Path, number: str, suffix: str, index: int) -> Path:
    path = folder / (NAMES[index % len(NAMES)].replace("{}", number, 1) + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _id(path: Path, folder: Path) -> str:
    return printable(str(path.relative_to(folder)))


def bad_kinds() -> dict[str, tuple[str, str, Write]]:
    """Name -> (suffix, error type, writer)."""
    return {**_cut_pictures(), **_damaged(), **_no_pictures(), **_no_files(), **_clips()}


def _cut_pictures() -> dict[str, tuple[str, str, Write]]:
    """Pictures that end too soon, be it within their pixels or within their headers."""
    kinds: dict[str, tuple[str, str, Write]] = {
        f"cut {name}": (suffix, "BrokenMediaError", _cut(name)) for name, suffix in SUFFIXES.items()
    }
    # Beyond the signature, which alone tells what the file was to be.
    for name, most in {"png": 41, "jpeg": 170, "gif": 400}.items():
        at = _between(12, most)
        kinds[f"{name} cut in its header"] = (SUFFIXES[name], "BrokenMediaError", _cut(name, at))
    return kinds


def _damaged() -> dict[str, tuple[str, str, Write]]:
    broken, bomb = "BrokenMediaError", "DecompressionBombError"
    return {
        "png of damaged data": (".png", broken, _edited("png", b"IDAT", 100)),
        "png of no data": (".png", broken, lambda p, n: p.write_bytes(_no_data())),
        "png of a damaged header": (".png", broken, _edited("png", b"IHDR", 12)),
        "png of no width": (".png", broken, lambda p, n: p.write_bytes(_sized(0, 9 + n))),
        "jpeg of damaged tables": (".jpg", broken, _edited("jpeg", b"\xff\xc4", 5, 16)),
        "jpeg of zeros from half on": (".jpg", broken, _zeroed("jpeg")),
        "webp of a damaged header": (".webp", broken, _edited("webp", b"VP8L", 8, 8)),
        "gif of no frame": (".gif", broken, lambda p, n: p.write_bytes(b"GIF89a\9\0\9\0\0\0\0;")),
        "bmp of 7 bits": (".bmp", broken, _edited("bmp", b"BM", 28, 1, 7)),
        "tiff of no directory": (".tif", broken, _edited("tiff", b"II*\0", 4, 4)),
        "tiff of damaged data": (".tiff", broken, _edited("lzw", b"II*\0", 3000, 40)),
        "tiff of nan": (".tif", broken, lambda p, n: _saved(p, np.full((8, 8 + n), np.nan, "f4"))),
        "png bomb": (".png", bomb, lambda p, n: png(p, 20_000 + n, 20_000, b"")),
        "png of absurd size": (".png", bomb, lambda p, n: p.write_bytes(_sized(2**31 - 1, 2**31))),
        "bmp bomb": (".bmp", bomb, _edited("bmp", b"BM", 20, 2)),
        "gif bomb": (".gif", bomb, lambda p, n: p.write_bytes(_huge_gif())),
        "strip": (".png", "AspectRatioError", lambda p, n: png(p, 8 * 201 + n, 8)),
        "pole": (".png", "AspectRatioError", lambda p, n: png(p, 1, 201 + n)),
    }


def _no_pictures() -> dict[str, tuple[str, str, Write]]:
    unknown = "UnsupportedMediaError"

    def foreign(path: Path, variant: int) -> None:
        path.write_bytes(list(FOREIGN.values())[variant % len(FOREIGN)])

    return {
        "empty": (".png", "EmptyFileError", lambda p, n: p.write_bytes(b"")),
        "text": (".png", unknown, lambda p, n: p.write_text(f"this is no picture {n}\n")),
        "web page": (".jpg", unknown, lambda p, n: p.write_text(f"<!DOCTYPE html><p>{n} 404")),
        "foreign": (".PNG", unknown, foreign),
        "foreign jpeg": (".jpeg", unknown, lambda p, n: foreign(p, n + 5)),
        "noise": (".webp", unknown, lambda p, n: p.write_bytes(_noise(n))),
        "clip as picture": (".png", unknown, lambda p, n: p.write_bytes(_clip("a.mp4"))),
    }


def _no_files() -> dict[str, tuple[str, str, Write]]:
    unknown = "UnsupportedMediaError"
    return {
        "dangling link": (".png", "MediaNotFoundError", lambda p, n: p.symlink_to(f"gone {n}")),
        "dangling clip": (".mp4", "MediaNotFoundError", lambda p, n: p.symlink_to(f"gone {n}")),
        "link to itself": (".jpg", "MediaError", lambda p, n: p.symlink_to(p.name)),
        "link to a folder": (".png", unknown, lambda p, n: p.symlink_to(p.parent)),
        "folder as clip": (".mp4", unknown, lambda p, n: p.symlink_to(p.parent)),
        "pipe": (".png", unknown, lambda p, n: os.mkfifo(p)),
        "pipe as clip": (".mp4", unknown, lambda p, n: os.mkfifo(p)),
        "device": (".png", unknown, lambda p, n: p.symlink_to("/dev/zero")),
        "socket": (".png", unknown, lambda p, n: _socket(p)),
    }


def _clips() -> dict[str, tuple[str, str, Write]]:
    broken, unknown, silent = "BrokenMediaError", "UnsupportedMediaError", "NoVideoStreamError"
    kinds: dict[str, tuple[str, str, Write]] = {
        f"cut {name[2:]}": (name[1:], broken, _cut(name, _between(64, -1)))
        for name in ("a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi")
    }
    return kinds | {
        "mp4 of a lost body": (".mp4", broken, _zeroed("a.mp4")),
        "mkv of zeros from half on": (".mkv", broken, _zeroed("a.mkv")),
        "avi of zeros from half on": (".avi", broken, _zeroed("a.avi")),
        "mkv of noise": (".mkv", broken, lambda p, n: p.write_bytes(b"\x1aE\xdf\xa3" + _noise(n))),
        "sound": (".mp4", silent, lambda p, n: p.write_bytes(_clip("sound.mp4"))),
        "sound mkv": (".mkv", silent, lambda p, n: p.write_bytes(_clip("sound.mkv"))),
        "empty clip": (".mp4", "EmptyFileError", lambda p, n: p.write_bytes(b"")),
        "text as clip": (".mov", unknown, lambda p, n: p.write_text(f"no clip {n}")),
        "playlist": (".mp4", unknown, lambda p, n: p.write_text(f"#EXTM3U\n#EXTINF:{n},\na.mp4\n")),
        "concat list": (".mp4", unknown, lambda p, n: p.write_text("ffconcat version 1.0\n")),
        "noise as clip": (".webm", unknown, lambda p, n: p.write_bytes(_noise(n))),
        "picture as clip": (".mp4", unknown, lambda p, n: p.write_bytes(_encoded("png"))),
    }


def good_kinds() -> dict[str, tuple[str, Write]]:
    """Files that are odd and whole: name -> (suffix, writer)."""
    grey = np.asarray(picture().convert("L"))
    modes = {".png": ("1", "L", "LA", "P", "RGB", "RGBA"), ".jpg": ("L", "RGB", "CMYK"),
             ".webp": ("RGB", "RGBA"), ".bmp": ("1", "L", "P", "RGB"),
             ".tif": ("1", "LA", "P", "RGBA", "CMYK", "YCbCr"), ".gif": ("L", "P")}  # fmt: skip
    kinds: dict[str, tuple[str, Write]] = {
        f"{mode}{suffix}": (suffix, lambda p, n, m=mode: picture(seed=n).convert(m).save(p))
        for suffix, names in modes.items()
        for mode in names
    }
    deep = {".png": grey.astype("u2") * 257, ".tif": grey.astype("u2") * 257,
            ".tiff": grey.astype("i4") << 23, ".TIF": grey.astype("f4") / 255}  # fmt: skip
    for suffix, values in deep.items():
        kinds[f"deep {suffix}"] = (suffix, lambda p, n, v=values: _saved(p, v))
    return kinds | {
        "clear palette": (".png", lambda p, n: picture().convert("P").save(p, transparency=3)),
        "progressive": (".jpeg", lambda p, n: picture().save(p, progressive=True)),
        "another suffix": (".jpg", lambda p, n: p.write_bytes(_encoded("gif"))),
        "upper case": (".PNG", lambda p, n: p.write_bytes(_encoded("jpeg"))),
        "trailing bytes": (".jpg", lambda p, n: p.write_bytes(_encoded("jpeg") + b"more" * 9)),
        "one pixel": (".png", lambda p, n: picture(1, 1).save(p)),
        "200 to 1": (".png", lambda p, n: png(p, 1600, 8)),
        "animation": (".gif", lambda p, n: _animated(p)),
        "animated webp": (".webp", lambda p, n: _animated(p)),
        "link": (".png", lambda p, n: p.symlink_to(next(p.parent.glob("000*")).name)),
        **{name: (name[1:], lambda p, n, b=name: p.write_bytes(_clip(b)))
           for name in ("a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi")},
        "mkv by another suffix": (".mp4", lambda p, n: p.write_bytes(_clip("a.mkv"))),
        "one frame": (".mp4", lambda p, n: p.write_bytes(_clip("one.mp4"))),
    }  # fmt: skip


SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "gif": ".gif",
            "bmp": ".bmp", "lzw": ".tiff"}  # fmt: skip


@cache
def _encoded(name: str) -> bytes:
    """A whole picture; `lzw` is a TIFF whose directory comes last."""
    file = BytesIO()
    if name == "lzw":
        picture().save(file, "TIFF", compression="tiff_lzw")
    else:
        picture().save(file, name.upper(), **({"lossless": True} if name == "webp" else {}))
    return file.getvalue()


@cache
def _clip(name: str) -> bytes:
    """A whole clip of this suffix; `one` has one frame, `sound` none."""
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        if name.startswith("sound"):
            sound_only(path)
        elif path.suffix == ".webm":
            clip(path, codec="libvpx")
        else:
            clip(path, frames=1 if name.startswith("one") else 12)
        return path.read_bytes()


def _whole(name: str) -> bytes:
    return _clip(name) if "." in name else _encoded(name)


def _between(first: int, last: int) -> Callable[[int, int], int]:
    """Sizes from `first` to `last` (from the end where negative), another for each variant."""

    def size(whole: int, variant: int) -> int:
        end = last if last >= 0 else whole + last
        return first + (end - first) * (variant * 7 % 20) // 19

    return size


def _cut(name: str, size: Callable[[int, int], int] | None = None) -> Write:
    """Cut anywhere between a fifth and nearly all of it, unless told where."""

    def write(path: Path, variant: int) -> None:
        whole = _whole(name)
        place = size or _between(len(whole) // 5, -30)
        path.write_bytes(whole[: place(len(whole), variant)])

    return write


def _edited(name: str, mark: bytes, offset: int, length: int = 1, value: int = 255) -> Write:
    """Return a writer of the file with `length` bytes replaced, `offset` bytes after `mark`."""

    def write(path: Path, variant: int) -> None:
        data = bytearray(_whole(name))
        at = data.index(mark) + offset
        data[at : at + length] = bytes([value]) * length
        path.write_bytes(data)

    return write


def _zeroed(name: str) -> Write:
    """Return a writer of the file with zeros at its end, like an interrupted download."""

    def write(path: Path, variant: int) -> None:
        whole = _whole(name)
        at = len(whole) // 2 + variant
        path.write_bytes(whole[:at] + bytes(len(whole) - at))

    return write


def _chunks() -> Iterator[tuple[bytes, bytes]]:
    data, at = _encoded("png"), 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
             for name, body in chunks]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _no_data() -> bytes:
    return _png([chunk for chunk in _chunks() if chunk[0] != b"IDAT"])


def _sized(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _png([(b"IHDR", header), *list(_chunks())[1:]])


def _huge_gif() -> bytes:
    """The screen and its one frame are both 65,535 pixels wide and high."""
    data = bytearray(_encoded("gif"))
    size = struct.pack("<HH", 64, 48)
    frame = data.index(size, 10)
    data[6:10] = data[frame : frame + 4] = b"\xff" * 4
    return bytes(data)


def _noise(seed: int) -> bytes:
    # An odd first byte that no format begins with.
    return b"\x01" + np.random.default_rng(seed).bytes(2000)


def _saved(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def _animated(path: Path) -> None:
    frames = [picture(seed=seed) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _socket(path: Path) -> None:
    """Bound under a short name, since the system limits it to some hundred bytes."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{folder}/s")
        Path(f"{folder}/s").rename(path)
