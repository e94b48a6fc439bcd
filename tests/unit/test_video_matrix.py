"""Every sampled frame is the one that `frames` names, for every codec, container and GOP."""

import shutil
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from librehps.errors import MediaError
from librehps.media.videos import VideoReader
from video_matrix import LONG, Numbered, number_of, write_matrix

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Numbered]:
    return write_matrix(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module", params=["auto", "decord"])
def reader(request: pytest.FixtureRequest) -> Iterator[VideoReader]:
    reader = VideoReader(request.param)
    yield reader
    reader.close()


def verdict(reader: VideoReader, clip: Numbered) -> str:
    """Return right, error or wrong with what was seen."""
    # Two frames of a long clip are so far apart that a reader may seek.
    wanted = 2 if clip.frames == LONG else 8
    try:
        read = reader.read(clip.path, wanted)
    except MediaError as error:
        return f"error: {error}"
    frames = read.frames.permute(0, 2, 3, 1).numpy()
    seen = tuple(number_of(np.rot90(frame) if clip.turned else frame) for frame in frames)
    whole = len(seen) == min(wanted, clip.frames)
    return "right" if seen == read.indices and whole else f"wrong: {read.indices} show {seen}"


def test_no_frame_is_another_than_named(reader: VideoReader, clips: list[Numbered]) -> None:
    verdicts = {clip.path.name: verdict(reader, clip) for clip in clips}
    counts = Counter(text.split(":")[0] for text in verdicts.values())
    wrong = {name: text for name, text in verdicts.items() if text.startswith("wrong")}
    assert not wrong, (counts, wrong)
    assert sum(counts.values()) >= 300, counts
    if reader.backend == "auto":
        errors = {name: text for name, text in verdicts.items() if text != "right"}
        assert not errors, (counts, errors)


def test_decord_reads_the_same_pixels(clips: list[Numbered]) -> None:
    """decord refuses a clip, or its frames equal those of the usual reader."""
    one, other = VideoReader("auto"), VideoReader("decord")
    same = 0
    for clip in (clip for clip in clips if clip.frames == 33):
        try:
            frames = other.read(clip.path, 4).frames
        except MediaError:
            continue
        assert frames.equal(one.read(clip.path, 4).frames), clip.path.name
        same += 1
    assert same >= 10
