"""The tags of a clip's container, read in the worker process."""

from pathlib import Path

import av
import numpy as np
import pytest

from conftest import MEDIA
from librehps import errors
from librehps.media.videos import VideoReader, VideoReaders
from make_media import bad_media


def tagged(path: Path, **tags: str) -> Path:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as file:
        file.metadata.update(tags)
        stream = file.add_stream("mpeg4", rate=12)
        stream.width, stream.height = 64, 48
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode()]:
            file.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_tags_are_read_as_they_are_stored(tmp_path: Path, suffix: str) -> None:
    text = '{"3": {"inputs": {"text": "ein Haus \u00fc \u6f22\\n"}}}'
    file = tagged(tmp_path / f"x{suffix}", prompt=text, comment="a note")
    tags = {key.lower(): value for key, value in VideoReader().tags(file).items()}
    assert (tags["prompt"], tags["comment"]) == (text, "a note")


def test_a_pool_reads_tags_and_then_frames() -> None:
    readers = VideoReaders(count=1)
    assert isinstance(readers.tags(MEDIA / "clip8.mp4"), dict)
    assert len(readers.read(MEDIA / "clip8.mp4", 4).frames) == 4
    readers.close()


def test_tags_that_are_too_long_are_an_error(tmp_path: Path) -> None:
    file = tagged(tmp_path / "x.mkv", prompt="a" * ((1 << 22) + 1))
    with pytest.raises(errors.UnsupportedMediaError, match="tags are too long"):
        VideoReader().tags(file)


def test_invalid_utf8_becomes_a_replacement_character(tmp_path: Path) -> None:
    file = tagged(tmp_path / "x.mkv", prompt="a cat in a hat")
    file.write_bytes(file.read_bytes().replace(b"a cat in", b"a c\xff\xfe in"))
    assert VideoReader().tags(file)["PROMPT"] == "a c\ufffd\ufffd in a hat"


def test_bad_files_have_an_error(tmp_path: Path) -> None:
    bad_media(tmp_path)
    for name in ("empty.mp4", "text.mp4", "playlist.mp4", "short.mp4"):
        with pytest.raises(errors.MediaError, match=name):
            VideoReader().tags(tmp_path / name)
