"""Clips with unusual streams, made by PyAV: time stamps, pixel aspect, cuts, live recordings."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from video_matrix import HEIGHT, WIDTH, numbered_frames

X264 = {"preset": "ultrafast", "g": "12", "bf": "3", "b_strategy": "0"}


def numbered(
    path: Path,
    frames: int = 30,
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a clip of numbered frames; `times` are when they are shown, in 1/24 s."""
    with av.open(str(path), "w", options=muxer or {}) as file:
        stream: Any = file.add_stream(codec, rate=24, options=options or X264)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        if aspect:
            stream.sample_aspect_ratio = aspect
        for at, pixels in enumerate(numbered_frames(frames)):
            array = np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH, 3)
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = times[at] if times else at, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def remuxed(source: Path, path: Path, keep: Callable[[int, Any], bool]) -> Path:
    """Write a copy of the stream with only the packets for which `keep(number, packet)` is true."""
    with av.open(str(source)) as given, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        packets = (packet for packet in given.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            if keep(number, packet):
                packet.stream = stream
                file.mux(packet)
    return path


class _Pipe(BytesIO):
    """A stream that cannot go back, as a pipe."""

    def seekable(self) -> bool:
        return False

    seek = None  # type: ignore[assignment]


def through_a_pipe(source: Path, path: Path, container: str) -> Path:
    """Write a copy of the stream as a recorder writes into a pipe: without sizes and index."""
    pipe = _Pipe()
    with av.open(str(source)) as given, av.open(pipe, "w", format=container) as file:
        stream = file.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
    path.write_bytes(pipe.getvalue())
    return path


def with_cover(clip: Path | None, path: Path) -> Path:
    """Write an MP4 with a cover picture as its first stream, then the clip or silence."""
    with av.open(str(path), "w") as file:
        cover: Any = file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        given = av.open(str(clip)) if clip else None
        stream: Any = (
            file.add_stream_from_template(given.streams.video[0])
            if given
            else file.add_stream("aac", rate=44100)
        )
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        file.mux([*cover.encode(picture), *cover.encode()])
        if given is None:
            silence = np.zeros((1, 4096), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate = 44100
            file.mux([*stream.encode(frame), *stream.encode()])
            return path
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                file.mux(packet)
        given.close()
    return path
