"""Clips through both readers, each in a child process that may die."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import MEDIA
from librehps import errors
from librehps.media import decoder_deadline
from librehps.media.sampling import sample_indices
from librehps.media.videos import VideoReader, choose_backend
from make_media import bad_media, clip

pytestmark = pytest.mark.slow

CLIPS = ["clip24.mp4", "clip8.mp4", "long.mkv", "tall.webm"]


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, VideoReader]]:
    """A reader of each kind, whose child no test disturbs."""
    readers = {backend: VideoReader(backend) for backend in ("decord", "pyav")}
    yield readers
    for reader in readers.values():
        reader.close()


@pytest.fixture(params=["decord", "pyav"])
def shared(readers: dict[str, VideoReader], request: pytest.FixtureRequest) -> VideoReader:
    return readers[request.param]


@pytest.fixture(params=["decord", "pyav"])
def reader(request: pytest.FixtureRequest) -> Iterator[VideoReader]:
    reader = VideoReader(request.param)
    yield reader
    reader.close()


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("frames", [1, 5, 8, 40])
def test_both_readers_give_the_same_frames(
    name: str, frames: int, readers: dict[str, VideoReader]
) -> None:
    one, other = (reader.read(MEDIA / name, frames) for reader in readers.values())
    assert one.indices == other.indices
    assert torch.equal(one.frames, other.frames)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("mpeg4", ".mkv"), ("mpeg4", ".mov"), ("libx264", ".mp4")]
)
def test_containers(
    tmp_path: Path, codec: str, suffix: str, readers: dict[str, VideoReader]
) -> None:
    file = clip(tmp_path / f"x{suffix}", frames=30, codec=codec)
    one, other = (reader.read(file, 7) for reader in readers.values())
    assert one.indices == other.indices == (2, 6, 11, 15, 19, 24, 28)
    assert torch.equal(one.frames, other.frames)
    assert len({frame.numpy().tobytes() for frame in one.frames}) == 7


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_in_the_container_is_applied(
    tmp_path: Path, degrees: int, readers: dict[str, VideoReader]
) -> None:
    """The display matrix of an MP4 track header, as phones write it."""
    file = clip(tmp_path / "x.mp4")
    upright = readers["pyav"].read(file, 1).frames[0]
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 14]
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    scaled = [v << 16 for v in matrix]
    content[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in scaled)
    file.write_bytes(content)
    for backend, reader in readers.items():
        turned = reader.read(file, 1).frames[0]
        assert torch.equal(turned, upright.rot90(-degrees // 90, (1, 2))), backend


@pytest.mark.parametrize(
    ("available", "wanted", "expected"),
    [
        (8, 8, list(range(8))),
        (3, 8, [0, 1, 2]),
        (48, 8, [3, 9, 15, 21, 27, 33, 39, 45]),
        (9, 8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (100, 1, [50]),
    ],
)
def test_sampling(available: int, wanted: int, expected: list[int]) -> None:
    assert sample_indices(available, wanted) == expected


def test_bad_files_each_have_their_error(tmp_path: Path, shared: VideoReader) -> None:
    kinds = {name: kind for name, kind in bad_media(tmp_path).items() if name.endswith(".mp4")}
    clip(tmp_path / "good.mp4")
    for name, kind in kinds.items():
        with pytest.raises(errors.MediaError, match=name) as raised:
            shared.read(tmp_path / name, 4)
        assert type(raised.value).__name__ == kind, (name, raised.value)
    assert len(shared.read(tmp_path / "good.mp4", 4).frames) == 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_clip_cut_short_never_passes_for_whole(
    tmp_path: Path, shared: VideoReader, suffix: str
) -> None:
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    file = clip(tmp_path / f"x{suffix}", frames=30, options=options)
    content = file.read_bytes()
    for share in (0.98, 0.6, 0.3):
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(errors.BrokenMediaError, match="truncated"):
            shared.read(file, 4)


def test_trailing_bytes_do_no_harm(tmp_path: Path, shared: VideoReader) -> None:
    file = clip(tmp_path / "x.mp4")
    file.write_bytes(file.read_bytes() + b"TAG of some tool" * 3)
    assert len(shared.read(file, 4).frames) == 4


def test_names_that_are_no_text(tmp_path: Path, shared: VideoReader) -> None:
    file = clip(tmp_path / "x.mp4")
    for name in (b"\xff\xfe.mp4", b"new\nline.mp4", b"http:x.mp4"):
        other = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        other.write_bytes(file.read_bytes())
        assert len(shared.read(other, 4).frames) == 4


def child_of(reader: VideoReader) -> int:
    assert reader.process.child is not None
    return reader.process.child.pid


def test_a_child_killed_costs_one_row(reader: VideoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.read(MEDIA / "clip8.mp4", 4)
    child = reader.process.child
    assert child is not None and child.stdin is not None
    # Stopped, so that it is surely in the middle of the request when it is killed.
    child.send_signal(signal.SIGSTOP)
    flush = child.stdin.flush
    monkeypatch.setattr(child.stdin, "flush", lambda: (flush(), child.kill()))
    with pytest.raises(errors.DecoderCrashError, match="signal 9"):
        reader.read(MEDIA / "clip24.mp4", 4)
    assert len(reader.read(MEDIA / "clip24.mp4", 4).frames) == 4


def test_a_child_that_died_between_videos_costs_none(reader: VideoReader) -> None:
    reader.read(MEDIA / "clip8.mp4", 4)
    os.kill(child_of(reader), signal.SIGKILL)
    assert reader.process.child is not None
    reader.process.child.wait()
    assert len(reader.read(MEDIA / "clip24.mp4", 4).frames) == 4


def test_a_child_that_hangs_is_ended(reader: VideoReader) -> None:
    reader.read(MEDIA / "clip8.mp4", 4)
    os.kill(child_of(reader), signal.SIGSTOP)
    reader.process.time_limit = 0.5
    with pytest.raises(errors.VideoTimeoutError, match=r"0\.5 s"):
        reader.read(MEDIA / "clip24.mp4", 4)
    reader.process.time_limit = 60
    assert len(reader.read(MEDIA / "clip24.mp4", 4).frames) == 4


def test_a_child_on_a_busy_machine_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    used, killed = [0.0, 0.01, 0.02], list[str]()
    monkeypatch.setattr(decoder_deadline, "cpu_seconds", lambda _: used.pop(0))
    monkeypatch.setattr(decoder_deadline.time, "monotonic", lambda: 0.0)
    deadline = decoder_deadline.Deadline(1, 0.02, lambda: killed.append("killed"))
    deadline.run()
    assert (used, killed, deadline.is_late) == ([], ["killed"], True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_time_of_a_process_is_that_of_its_cpu() -> None:
    used = decoder_deadline.cpu_seconds(os.getpid())
    assert used is not None and 0 < used <= time.process_time() + 1


def test_a_child_does_not_outlive_its_parent() -> None:
    command = [sys.executable, "-m", "librehps.media.video_worker", str(1 << 32), "0", "60"]
    with subprocess.Popen([*command, "0"], stdin=subprocess.PIPE) as child:
        # Its parent is not the process 0.
        assert child.wait(120) == 1


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip whose frames need 200 MB."""
    file = tmp_path_factory.mktemp("wide") / "wide.mp4"
    return clip(file, frames=16, width=2048, height=2048)


@pytest.mark.parametrize("backend", ["decord", "pyav"])
def test_memory_is_limited(wide: Path, backend: str, readers: dict[str, VideoReader]) -> None:
    reader = VideoReader(backend, memory_limit=700 << 20)
    with pytest.raises(errors.MediaError) as raised:
        reader.read(wide, 64)
    assert isinstance(raised.value, errors.DecoderCrashError | errors.BrokenMediaError)
    assert len(readers[backend].read(wide, 64).frames) == 16


def test_the_child_imports_nothing_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "decord", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the folder')")
    monkeypatch.chdir(tmp_path)
    assert len(VideoReader().read(MEDIA / "clip8.mp4", 4).frames) == 4


def test_the_reader_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "decord" else find(name, *a)
    )
    assert choose_backend("auto") == "pyav"
    with pytest.raises(errors.UsageError, match="decord"):
        choose_backend("decord")


def test_frames_are_rgb_in_order(tmp_path: Path, shared: VideoReader) -> None:
    file = clip(tmp_path / "x.mp4", frames=6)
    frames = shared.read(file, 6).frames.permute(0, 2, 3, 1).numpy().astype(int)
    from make_media import picture

    base = np.asarray(picture(96, 64)).astype(int)
    for index, frame in enumerate(frames):
        assert np.abs(frame - np.roll(base, index * 7, axis=1)).mean() < 25


def test_an_answer_broken_off_is_not_the_next_videos(
    reader: VideoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from librehps.media import decoder_process

    wanted = reader.read(MEDIA / "tall.webm", 4)
    with monkeypatch.context() as patch:
        patch.setattr(
            decoder_process, "_read_pixels", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            reader.read(MEDIA / "clip24.mp4", 4)
    again = reader.read(MEDIA / "tall.webm", 4)
    assert torch.equal(again.frames, wanted.frames)


@pytest.mark.parametrize("cut", [1, 2, 8])
def test_a_start_cut_off_by_an_edit_list(
    tmp_path: Path, cut: int, readers: dict[str, VideoReader]
) -> None:
    """PyAV gives what is left; decord, which would give other frames, refuses."""
    file = clip(tmp_path / "x.mp4", frames=24, codec="libx264")
    whole = readers["pyav"].read(file, 24).frames
    content = bytearray(file.read_bytes())
    at = content.index(b"elst") + 16
    start = int.from_bytes(content[at : at + 4], "big")
    # 12 frames a second in a time scale of 12288.
    content[at : at + 4] = (start + cut * 1024).to_bytes(4, "big")
    file.write_bytes(content)
    left = readers["pyav"].read(file, 24)
    assert torch.equal(left.frames, whole[cut:])
    with pytest.raises(errors.UnsupportedMediaError, match="edit list"):
        readers["decord"].read(file, 4)
