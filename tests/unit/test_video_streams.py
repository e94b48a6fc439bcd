"""Clips as people have them: cut, live, mirrored, with other pixels, times and colours."""

import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from librehps import errors
from librehps.media.decoder_process import THREAD_LIMITS
from librehps.media.decord_reader import read_decord
from librehps.media.pyav_reader import Request, read_pyav
from librehps.media.refusal import RefusedError
from librehps.media.sampling import is_variable, sample_times
from librehps.media.videos import Clip, VideoReader
from streams import numbered, remuxed, through_a_pipe, with_cover
from video_matrix import HEIGHT, WIDTH, number_of


@pytest.fixture(scope="module")
def reader() -> VideoReader:
    return VideoReader()


def numbers(clip: Clip) -> tuple[int, ...]:
    return tuple(number_of(frame) for frame in clip.frames.permute(0, 2, 3, 1).numpy())


def test_pixels_become_square(tmp_path: Path, reader: VideoReader) -> None:
    sizes = {}
    for aspect in (Fraction(2), Fraction(3, 4), Fraction(201, 200)):
        clip = reader.read(numbered(tmp_path / "x.mp4", 8, aspect=aspect), 8)
        assert numbers(clip) == clip.indices
        sizes[aspect] = tuple(clip.frames.shape[:1:-1])
    # A stretch below one per cent is rounding of an encoder.
    assert list(sizes.values()) == [(2 * WIDTH, HEIGHT), (WIDTH, 85), (WIDTH, HEIGHT)]


def test_squared_frames_count_against_the_limit_of_pixels(
    tmp_path: Path, reader: VideoReader
) -> None:
    file = numbered(tmp_path / "x.mp4", 8, aspect=Fraction(50))
    with pytest.raises(errors.DecompressionBombError, match="4800 x 64"):
        reader.read(file, 8, max_pixels=300_000)


@pytest.mark.parametrize(("across", "down"), [(-1, 1), (1, -1), (-1, -1)])
def test_mirrored_clips(tmp_path: Path, reader: VideoReader, across: int, down: int) -> None:
    file = numbered(tmp_path / "x.mp4", 8)
    plain = reader.read(file, 8).frames
    turn(file, [across, 0, 0, down])
    mirrored = [axis for axis, sign in ((2, down), (3, across)) if sign < 0]
    assert reader.read(file, 8).frames.equal(plain.flip(mirrored))


@pytest.mark.parametrize(
    ("factors", "is_mirrored"),
    [([-1, 0, 0, 1], True), ([1, 0, 0, -1], True), ([0, 1, 1, 0], True), ([0, -1, -1, 0], True),
     ([0, 1, -1, 0], False), ([-1, 0, 0, -1], False)],
)  # fmt: skip
def test_decord_reads_turned_clips_but_no_mirrored_ones(
    tmp_path: Path, reader: VideoReader, factors: list[int], is_mirrored: bool
) -> None:
    pytest.importorskip("decord")
    file = numbered(tmp_path / "x.mp4", 8)
    turn(file, factors)
    request = Request(str(file), "mov", 8, 1 << 27)
    if is_mirrored:
        with pytest.raises(RefusedError, match="its container mirrors it"):
            read_decord(request)
    else:
        assert np.array_equal(read_decord(request).frames, read_pyav(request).frames)


def turn(file: Path, factors: list[int]) -> None:
    """Write a display matrix, of where a step across and a step down lead, into an MP4."""
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (factor << 16 for factor in factors)
    matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    file.write_bytes(content)


def test_a_variable_frame_rate_is_sampled_by_index_or_by_time(
    tmp_path: Path, reader: VideoReader
) -> None:
    # Frames 0 to 9 are shown for a second each, 10 to 29 for 1/24 s.
    times = [24 * min(at, 10) + max(0, at - 10) for at in range(30)]
    file = numbered(tmp_path / "x.mkv", 30, times)
    by_index, by_time = (reader.read(file, 5, sample=way) for way in ("index", "time"))
    assert numbers(by_index) == by_index.indices == (3, 9, 15, 21, 27)
    assert numbers(by_time) == by_time.indices == (1, 3, 5, 7, 9)
    assert read_pyav(Request(str(file), "matroska", 5, 1 << 27)).variable


def test_a_constant_rate_gives_nearly_the_same_frames_by_time(
    tmp_path: Path, reader: VideoReader
) -> None:
    file = numbered(tmp_path / "x.mp4", 30)
    clip = reader.read(file, 5, sample="time")
    assert numbers(clip) == clip.indices == (3, 9, 15, 21, 27)
    assert not read_pyav(Request(str(file), "mov", 5, 1 << 27)).variable


def test_a_frame_shown_for_long_is_sampled_several_times() -> None:
    assert sample_times([0, 1, 2, 100, 101], 4) == [2, 2, 2, 2]
    # A time base of milliseconds rounds 30 frames a second.
    assert not is_variable([0, 33, 67, 100, 133])
    assert is_variable([0, 33, 67, 167, 200])


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "libx264"), ("mp4", "libx264"), ("avi", "mpeg4")]
)
def test_a_stream_without_its_key_frame_is_an_error(
    tmp_path: Path, reader: VideoReader, suffix: str, codec: str
) -> None:
    whole = numbered(tmp_path / f"whole.{suffix}", codec=codec)
    file = remuxed(whole, tmp_path / f"x.{suffix}", lambda number, _: number > 4)
    with pytest.raises(errors.BrokenMediaError, match=r"(h264|mpeg4) in .* key frame.*ffmpeg -i"):
        reader.read(file, 4)


def test_frames_lost_before_the_first_key_frame_are_not_counted(
    tmp_path: Path, reader: VideoReader
) -> None:
    """A cut at an open GOP has frames that refer to the part that was cut off."""
    whole = numbered(
        tmp_path / "whole.mkv",
        60,
        codec="libx265",
        options={
            "preset": "ultrafast",
            "x265-params": "log-level=none:keyint=12:bframes=3:open-gop=1:b-adapt=0",
        },
    )
    keys: list[int] = []

    def second_on(number: int, packet: object) -> bool:
        if packet.is_keyframe:  # type: ignore[attr-defined]
            keys.append(number)
        return len(keys) > 1

    cut = reader.read(remuxed(whole, tmp_path / "x.mkv", second_on), 8)
    shift = {number - index for number, index in zip(numbers(cut), cut.indices, strict=True)}
    assert len(shift) == 1
    assert 12 <= shift.pop() < 24


@pytest.mark.parametrize(
    ("container", "codec"), [("avi", "mpeg4"), ("matroska", "libx264"), ("webm", "libvpx")]
)
def test_a_recording_into_a_pipe(
    tmp_path: Path, reader: VideoReader, container: str, codec: str
) -> None:
    options = {"cpu-used": "8"} if codec == "libvpx" else None
    source = tmp_path / ("whole.avi" if container == "avi" else "whole.mkv")
    whole = numbered(source, codec=codec, options=options)
    clip = reader.read(through_a_pipe(whole, tmp_path / f"x.{container}", container), 8)
    assert numbers(clip) == clip.indices


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    ("pixels", "matrix"),
    [("yuv420p", "bt709"), ("yuvj420p", "bt470bg"), ("yuv420p10le", "bt709"), ("yuv444p", "fcc")],
)
def test_colours_are_those_of_ffmpeg(
    tmp_path: Path, reader: VideoReader, pixels: str, matrix: str
) -> None:
    file = tmp_path / "x.mp4"
    coded = f"-vf scale=out_color_matrix={matrix},setparams=colorspace={matrix} -pix_fmt {pixels}"
    source = "-f lavfi -i testsrc2=s=96x64:r=24 -frames:v 4"
    ffmpeg(*source.split(), *coded.split(), "-c:v", "libx264", str(file))
    shown = ffmpeg("-i", str(file), *["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    expected = np.frombuffer(shown, np.uint8).reshape(4, HEIGHT, WIDTH, 3)
    frames = reader.read(file, 4).frames.permute(0, 2, 3, 1).numpy()
    assert np.abs(frames.astype(int) - expected).max() <= 2


def ffmpeg(*arguments: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", "-nostdin", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_the_worker_has_its_own_limits_on_threads(
    tmp_path: Path, reader: VideoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries that start a thread per core would fill its address space on a large machine."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "64")
    own = VideoReader()
    own.read(numbered(tmp_path / "x.mp4"), 4)
    assert own.process.child is not None
    folder = Path("/proc", str(own.process.child.pid))
    if not folder.exists():
        pytest.skip("no /proc on this system")
    environment = (folder / "environ").read_bytes().split(b"\0")
    assert {f"{name}={value}".encode() for name, value in THREAD_LIMITS.items()} <= {*environment}
    # The main thread, and the thread that ends the worker with its parent.
    assert len(list((folder / "task").iterdir())) == 2
    own.close()


def test_a_cover_picture_is_no_video(tmp_path: Path, reader: VideoReader) -> None:
    """Music with a cover has a stream of one picture, which comes first in some videos too."""
    clip = with_cover(numbered(tmp_path / "clip.mp4"), tmp_path / "x.mp4")
    assert numbers(reader.read(clip, 3)) == (5, 15, 25)
    with pytest.raises(errors.NoVideoStreamError):
        reader.read(with_cover(None, tmp_path / "song.mp4"), 3)


@pytest.mark.parametrize(("suffix", "container"), [("mp4", "mov"), ("mkv", "matroska")])
def test_a_seek_shows_the_same_frames(tmp_path: Path, suffix: str, container: str) -> None:
    request = Request(str(numbered(tmp_path / f"x.{suffix}", 700)), container, 2, 1 << 27)
    every = read_pyav(replace(request, num_frames=700)).frames
    read = read_pyav(request)
    assert np.array_equal(read.frames, every[read.indices])


def test_a_seek_does_not_pass_over_a_hole(tmp_path: Path, reader: VideoReader) -> None:
    """A lost packet takes the frames with it that refer to its own."""
    whole = numbered(tmp_path / "x.mp4", 700)
    file = remuxed(whole, tmp_path / "holed.mp4", lambda number, _: number != 300)
    with pytest.raises(errors.BrokenMediaError, match=r"only \d+ of 699 frames decode"):
        reader.read(file, 2)
