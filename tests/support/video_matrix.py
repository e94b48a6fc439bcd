"""Numbered clips of every codec, container and GOP, written by one run of ffmpeg each kind."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, BITS = 96, 64, 12
LENGTHS = (1, 9, 33, 240)
# Long enough that a reader which seeks does so.
LONG = 700
MOV, ALL = ("mp4", "mkv", "mov"), ("mp4", "mkv", "mov", "avi")
X264 = "-c:v libx264 -preset ultrafast -g 12 -bf 3 -b_strategy 0 -threads 1"
X265 = "-c:v libx265 -preset ultrafast -x265-params"
HEVC = "log-level=none:pools=none:frame-threads=1:keyint=12:bframes=3:b-adapt=0"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30 -threads 1"
MPEG2 = "-c:v mpeg2video -g 12 -bf 2 -q:v 4"
AV1 = "-c:v libsvtav1 -preset 12 -g 30 -svtav1-params lp=1"


@dataclass(frozen=True)
class Kind:
    """An encoder with its options, and the containers that take its stream."""

    name: str
    options: str
    suffixes: tuple[str, ...]
    pixels: str = "yuv420p"
    filters: str = "null"


KINDS = (
    Kind("h264-closed", X264, ALL),
    Kind("h264-open", f"{X264} -x264-params open-gop=1:scenecut=0", ALL),
    Kind("h264-10bit", X264, MOV, "yuv420p10le"),
    Kind("h264-wide", X264, MOV, filters="setsar=2"),
    Kind("h264-tall", f"{X264} -x264-params open-gop=1", MOV, filters="setsar=3/4"),
    Kind("hevc-closed", f"{X265} {HEVC}:open-gop=0", MOV),
    Kind("hevc-open", f"{X265} {HEVC}:open-gop=1", MOV),
    Kind("hevc-10bit", f"{X265} {HEVC}:open-gop=1", MOV, "yuv420p10le"),
    Kind("vp9", VP9, ("webm", "mkv", "mp4")),
    Kind("vp9-10bit", f"{VP9} -profile:v 2", ("webm", "mkv"), "yuv420p10le"),
    Kind("vp8-hidden", "-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 8 -b:v 200k",
         ("webm", "mkv")),
    Kind("av1", AV1, ("webm", "mkv", "mp4")),
    Kind("av1-10bit", AV1, ("webm", "mp4"), "yuv420p10le"),
    Kind("mpeg2-closed", f"{MPEG2} -flags:v +cgop+global_header -sc_threshold 1000000000", ALL),
    Kind("mpeg2-open", MPEG2, ALL),
    Kind("mpeg4", "-c:v mpeg4 -g 12 -q:v 4", ALL),
    Kind("mpeg4-b", "-c:v mpeg4 -g 12 -bf 2 -q:v 4", ALL),
    Kind("prores", "-c:v prores_ks -threads 1", ("mov", "mkv"), "yuv422p10le"),
    Kind("mjpeg", "-c:v mjpeg -q:v 4", ALL, "yuvj420p"),
)  # fmt: skip
LONG_KINDS = ("h264-closed", "h264-open", "hevc-closed", "hevc-open", "vp9")


@dataclass(frozen=True)
class Numbered:
    """A clip each of whose frames carries its number, and how many it has."""

    path: Path
    frames: int
    turned: bool = False


def numbered_frames(count: int) -> Iterator[bytes]:
    """Yield RGB frames with their number as black and white blocks, above colours that move."""
    across = np.arange(WIDTH)[None, :, None] * 2
    for number in range(count):
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for bit in range(BITS):
            row, column = divmod(bit, 4)
            value = 235 if number >> bit & 1 else 20
            frame[row * 16 : row * 16 + 16, column * 24 : column * 24 + 24] = value
        frame[48:] = (across + number * 5 + np.array([0, 60, 120])) % 256
        yield frame.tobytes()


def number_of(frame: np.ndarray) -> int:
    """Return the number that an upright RGB frame of any size carries."""
    height, width = frame.shape[:2]
    bits = 0
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        y, x = int((row + 0.5) * height / 4), int((column + 0.5) * width / 4)
        bits |= int(frame[y - 3 : y + 4, x - 3 : x + 4].mean() > 128) << bit
    return bits


def write_matrix(folder: Path) -> list[Numbered]:
    """Write every clip of the matrix; one encoder writes all containers of a stream at once."""
    source = folder / "source.raw"
    source.write_bytes(b"".join(numbered_frames(LONG)))
    clips = []
    for kind in KINDS:
        command = []
        for frames in (*LENGTHS, *([LONG] if kind.name in LONG_KINDS else [])):
            paths = [folder / f"{kind.name}-{frames}.{suffix}" for suffix in kind.suffixes]
            clips += [Numbered(path, frames) for path in paths]
            command += _output(kind, frames, paths)
        _ffmpeg(source, command)
    source.unlink()
    return clips + [turned for clip in clips if (turned := _turned(clip))]


def _output(kind: Kind, frames: int, paths: Iterable[Path]) -> list[str]:
    return [
        *f"-map 0:v -frames:v {frames} -pix_fmt {kind.pixels} -vf {kind.filters}".split(),
        *["-flags:v", "+global_header"],
        *kind.options.split(),
        *["-f", "tee"],
        "|".join(f"[f={_FORMATS.get(path.suffix, path.suffix[1:])}]{path}" for path in paths),
    ]


_FORMATS = {".mkv": "matroska"}


def _ffmpeg(source: Path, outputs: list[str]) -> None:
    size = f"-f rawvideo -pix_fmt rgb24 -s {WIDTH}x{HEIGHT} -r 24"
    begin = ["ffmpeg", "-v", "error", "-y", "-nostdin", *size.split(), "-i", str(source)]
    subprocess.run([*begin, *outputs], check=True, capture_output=True, env=_QUIET)


# SVT-AV1 writes its settings otherwise.
_QUIET = {**os.environ, "SVT_LOG": "1"}


def _turned(clip: Numbered) -> Numbered | None:
    """Return a copy turned by 90 degrees as phones write it, of some MP4 and MOV clips."""
    if clip.path.suffix not in (".mp4", ".mov") or clip.frames != 33:
        return None
    content = bytearray(clip.path.read_bytes())
    at = content.index(b"tkhd") + 44
    matrix = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path = clip.path.with_stem(f"{clip.path.stem}-turned")
    path.write_bytes(content)
    return Numbered(path, clip.frames, turned=True)
