"""Every sampled frame is the one that `frames` names, for every codec, container and GOP."""

import shutil
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from librehps.choices import VideoBackend
from librehps.errors import MediaError
from librehps.media.videos import Clip, VideoReader
from video_matrix import LONG, Numbered, number_of, write_matrix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Numbered]:
    return write_matrix(tmp_path_factory.mktemp("matrix"))


BACKENDS = ("auto", "decord")
Readings = dict[str, list[Clip | MediaError]]


@pytest.fixture(scope="module")
def readings(clips: list[Numbered]) -> Readings:
    """Return the frames, or the error, that each reader gives of each clip."""
    return {backend: [*read_all(backend, clips)] for backend in BACKENDS}


def read_all(backend: VideoBackend, clips: list[Numbered]) -> Iterator[Clip | MediaError]:
    reader = VideoReader(backend)
    for clip in clips:
        try:
            yield reader.read(clip.path, wanted(clip))
        except MediaError as error:
            yield error
    reader.close()


def wanted(clip: Numbered) -> int:
    # Two frames of a long clip are so far apart that a reader may seek.
    return 2 if clip.frames == LONG else 8


def verdict(read: Clip | MediaError, clip: Numbered) -> str:
    """Return right, error or wrong with what was seen."""
    if isinstance(read, MediaError):
        return f"error: {read}"
    frames = read.frames.permute(0, 2, 3, 1).numpy()
    seen = tuple(number_of(np.rot90(frame) if clip.turned else frame) for frame in frames)
    whole = len(seen) == min(wanted(clip), clip.frames)
    return "right" if seen == read.indices and whole else f"wrong: {read.indices} show {seen}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_frame_is_another_than_named(
    backend: str, clips: list[Numbered], readings: Readings
) -> None:
    read = zip(readings[backend], clips, strict=True)
    verdicts = {clip.path.name: verdict(one, clip) for one, clip in read}
    counts = Counter(text.split(":")[0] for text in verdicts.values())
    wrong = {name: text for name, text in verdicts.items() if text.startswith("wrong")}
    assert not wrong, (counts, wrong)
    assert sum(counts.values()) >= 280, counts
    if backend == "auto":
        errors = {name: text for name, text in verdicts.items() if text != "right"}
        assert not errors, (counts, errors)


def test_decord_reads_the_same_pixels(clips: list[Numbered], readings: Readings) -> None:
    """decord refuses a clip, or its frames equal those of the usual reader."""
    same = 0
    for clip, one, other in zip(clips, *readings.values(), strict=True):
        if isinstance(one, Clip) and isinstance(other, Clip):
            assert other.frames.equal(one.frames), clip.path.name
            same += 1
    assert same >= 30
