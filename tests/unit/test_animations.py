"""Animated GIF, WebP, APNG and AVIF as clips: which frames, their pixels, errors and notes."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Cli
from librehps import LibreHPS, errors
from librehps.media.animations import read_animation
from librehps.media.durations import durations, is_animated
from librehps.media.media import Media
from librehps.media.options import MediaOptions
from librehps.media.sampling import sample_durations, sample_indices
from librehps.types import Item
from make_media import picture

LOSSLESS = {"GIF": {}, "PNG": {}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
SUFFIXES = {"GIF": ".gif", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif"}
SIZE = (32, 24)


def numbered(index: int) -> Image.Image:
    """A frame whose left half says its number in levels of gray."""
    image = Image.new("RGB", SIZE, (255, 255, 255))
    image.paste((index * 12, index * 12, index * 12), (0, 0, 16, 24))
    return image


def animation(form: str, count: int, duration: object = 100, **more: object) -> bytes:
    file, frames = BytesIO(), [numbered(index) for index in range(count)]
    more = {**LOSSLESS[form], **more}
    frames[0].save(file, form, save_all=True, append_images=frames[1:], duration=duration,
                   loop=0, **more)  # fmt: skip
    return file.getvalue()


def numbers_of(frames: object) -> list[int]:
    levels = np.asarray(frames)[:, 0, 12, 4].astype(float)
    return [round(level / 12) for level in levels]


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("count", [2, 7, 20])
def test_frames_are_those_that_indices_name(form: str, count: int) -> None:
    clip = read_animation(animation(form, count), "x", 8, MediaOptions())
    assert list(clip.indices) == sample_indices(count, 8)
    assert numbers_of(clip.frames) == list(clip.indices)
    assert clip.remarks == {"animated"}


@pytest.mark.parametrize("form", LOSSLESS)
def test_spans_are_equal_in_time(form: str) -> None:
    times = [900, *[100] * 11]
    content = animation(form, 12, times)
    assert list(durations(content)) == pytest.approx(times, abs=1)
    clip = read_animation(content, "x", 4, MediaOptions())
    # 2 s in spans of 0.5 s: the first frame is shown at 0.25 and 0.75 s.
    assert clip.indices == (0, 0, 4, 9)
    assert numbers_of(clip.frames) == [0, 0, 4, 9]


def test_a_delay_of_nothing_is_that_of_browsers() -> None:
    assert list(durations(animation("GIF", 3, [0, 10, 20]))) == [100, 100, 20]


@pytest.mark.parametrize("wanted", [1, 4, 8])
@pytest.mark.parametrize("count", [1, 5, 24, 320])
def test_equal_durations_are_sampled_by_index(count: int, wanted: int) -> None:
    assert sample_durations([40.0] * count, wanted) == sample_indices(count, wanted)


@pytest.mark.parametrize("form", LOSSLESS)
def test_one_frame_is_an_image(form: str) -> None:
    content = animation(form, 1)
    assert not is_animated(content)
    assert not Media(content).is_animated


def test_the_default_image_of_an_apng_is_no_frame() -> None:
    file, frames = BytesIO(), [numbered(index) for index in range(4)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], default_image=True)
    clip = read_animation(file.getvalue(), "x", 8, MediaOptions())
    assert clip.indices == (0, 1, 2)
    assert numbers_of(clip.frames) == [1, 2, 3]


def test_frames_have_the_background() -> None:
    frames = [numbered(index).convert("RGBA") for index in range(3)]
    for frame in frames:
        frame.putalpha(0)
    file = BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True)
    clip = read_animation(file.getvalue(), "x", 8, MediaOptions("#102030"))
    assert clip.frames[:, :, 0, 0].tolist() == [[16, 32, 48]] * len(clip.indices)
    assert clip.remarks == {"animated", "transparent"}


@pytest.mark.parametrize("form", LOSSLESS)
def test_an_animation_cut_short_is_an_error(form: str) -> None:
    content = animation(form, 8)
    for share in (0.5, 0.8, 0.97):
        cut = content[: int(len(content) * share)]
        with pytest.raises(errors.MediaError, match=r"^x\b"):
            read_animation(cut, "x", 8, MediaOptions())


@pytest.mark.parametrize("form", LOSSLESS)
def test_damaged_bytes_are_an_error_or_do_no_harm(form: str) -> None:
    content, failed = animation(form, 8), 0
    rng = np.random.default_rng(0)
    start = content.index(b"mdat") if form == "AVIF" else len(content) // 3
    for at in rng.integers(start + 4, len(content) - 20, 30):
        damaged = content[:at] + rng.bytes(20) + content[at + 20 :]
        try:
            read_animation(damaged, "x", 8, MediaOptions())
        except errors.MediaError as error:
            assert str(error).startswith("x"), error
            failed += 1
        is_animated(damaged)
    assert failed


def test_a_frame_that_declares_too_many_pixels_is_an_error() -> None:
    content = bytearray(animation("GIF", 4))
    # Image descriptors: a comma, the corner 0, 0, then width and height.
    found = [at for at in range(len(content) - 9) if content[at : at + 5] == b",\0\0\0\0"]
    content[found[2] + 5 : found[2] + 9] = b"\xff" * 4
    with pytest.raises(errors.DecompressionBombError, match=r"^x\b"):
        read_animation(bytes(content), "x", 8, MediaOptions())


def test_frames_that_differ_in_size_are_an_error() -> None:
    content = bytearray(animation("GIF", 4))
    wide = Image.new("RGB", (40, 24))
    file = BytesIO()
    wide.save(file, "GIF")
    body = file.getvalue()
    palette = 13 + (3 << (body[10] & 7) + 1)
    at = body.index(b",", palette)
    descriptor = body[at : at + 9] + bytes([0x80 | body[10] & 7])
    frame = descriptor + body[13:palette] + body[at + 10 : -1]
    with pytest.raises(errors.UnsupportedMediaError, match="x: its frames differ in size"):
        read_animation(bytes(content[:-1]) + frame + b";", "x", 8, MediaOptions())


@pytest.mark.parametrize("form", LOSSLESS)
def test_limits_on_pixels_frames_and_time(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = animation(form, 8)
    with pytest.raises(errors.DecompressionBombError, match="too many pixels"):
        read_animation(content, "x", 8, MediaOptions(), max_pixels=32 * 24 - 1)
    monkeypatch.setattr("librehps.media.animation_frames.ANIMATION_TIMEOUT_S", -1)
    with pytest.raises(errors.VideoTimeoutError, match="x: timeout"):
        read_animation(content, "x", 8, MediaOptions())
    if form == "AVIF":
        # Durations are decoded: the time ends before the damage of the last frame is found.
        damaged = content[:-40] + b"\xff" * 40
        with pytest.raises(errors.VideoTimeoutError, match="x: timeout"):
            read_animation(damaged, "x", 8, MediaOptions())
    monkeypatch.setattr("librehps.media.animation_frames.ANIMATION_TIMEOUT_S", 60)
    monkeypatch.setattr("librehps.media.animation_frames.MAX_FRAMES", 7)
    with pytest.raises(errors.DecompressionBombError, match="too many frames"):
        read_animation(content, "x", 8, MediaOptions())


def test_rows_are_those_of_videos(tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for form, suffix in SUFFIXES.items():
        (folder / f"a{suffix}").write_bytes(animation(form, 10))
    numbered(3).save(folder / "still.gif")
    (folder / "cut.webp").write_bytes(animation("WEBP", 10)[:-60])
    command = ("score", folder, "-m", "tiny", "--prompt", "x")
    done = cli(*command, "-o", tmp_path / "x.jsonl")
    words = " ".join(done.stderr.split())
    assert "4 animated images are scored as videos (--animated still: first frame)" in words
    rows = {row["id"]: row for row in map(json.loads, (tmp_path / "x.jsonl").open())}
    for suffix in SUFFIXES.values():
        row = rows[f"a{suffix}"]
        assert (row["status"], row["kind"], row["frames"]) == ("ok", "video", [1, 4, 6, 9])
        assert row["temporal"] is not None
    assert (rows["still.gif"]["kind"], rows["still.gif"]["frames"]) == ("image", None)
    assert (rows["cut.webp"]["status"], rows["cut.webp"]["kind"]) == ("error", "video")
    still = cli(*command, "-o", tmp_path / "y.jsonl", "--animated", "still")
    assert "animated" not in still.stderr
    rows = {row["id"]: row for row in map(json.loads, (tmp_path / "y.jsonl").open())}
    assert rows["a.gif"]["kind"] == "image"
    assert rows["a.gif"]["temporal"] is None


def test_python_scores_what_it_is_asked_for(tiny: LibreHPS, tmp_path: Path) -> None:
    file = tmp_path / "a.webp"
    file.write_bytes(animation("WEBP", 10))
    as_video = tiny.score_video(file, "x")
    assert as_video.frames == (1, 4, 6, 9)
    [row] = tiny.score_items([Item("a", file.read_bytes(), "x")])
    assert (row.kind, row.score) == ("video", as_video)
    assert tiny.score_image(file, "x") == tiny.score_image(numbered(0), "x")
    with pytest.raises(errors.UnsupportedMediaError):
        tiny.score_video(_still(tmp_path), "x")


def _still(folder: Path) -> Path:
    picture(*SIZE).save(folder / "s.webp")
    return folder / "s.webp"
