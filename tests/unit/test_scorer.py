"""The Python surface: what users of the published card and of the public package call."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import CHECKPOINT, EXAMPLES, MEDIA
from librehps import AXES, BatchItem, Item, LibreHPS
from librehps.decide.probability import Platt
from librehps.errors import (
    AspectRatioError,
    CalibratorMismatchError,
    EmptyPromptError,
    ExtraNeededError,
    MediaNotFoundError,
    PromptTooLongError,
    UnsupportedMediaError,
    UsageError,
)
from librehps.evaluate.calibration import load_platt_calibrator
from librehps.media.videos import VideoReaders

PROMPTS = ["x", "a cat sitting on a windowsill", "ünïcode — 猫 on a roof 🐈", "a " * 60]
STILLS = sorted(path for path in MEDIA.iterdir() if path.suffix in (".png", ".jpg", ".webp"))


def test_quickstart_score() -> None:
    from librehps import LibreHPS

    model = LibreHPS.from_pretrained(str(CHECKPOINT), attn_impl="auto")
    result = model.score_image(
        image=Image.open(MEDIA / "sq448.png"), prompt="a cat sitting on a windowsill"
    )
    assert result.overall.mean == pytest.approx(5.9976624e-05, abs=1e-6)
    assert isinstance(result.scalar, float)
    clip = model.score_video(video=str(MEDIA / "clip24.mp4"), prompt="a cat", num_frames=8)
    assert 0 < clip.temporal.mean < 1
    assert clip.frames == (3, 9, 15, 21, 27, 33, 39, 45)


def test_quickstart_compare(golden: LibreHPS, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(
        '{"per_benchmark": {"hpdv3": {"a": 2, "b": 1}}, "global": {"a": 2.5, "b": 0.1}}'
    )
    calibrator = load_platt_calibrator(file).default
    assert load_platt_calibrator(file).get("hpdv3") == Platt(2.0, 1.0)
    pair = golden.compare_images(
        image_a=MEDIA / "sq448.png",
        image_b=MEDIA / "sq1024.png",
        prompt="a cat sitting on a windowsill",
        calibrator=calibrator,
    )
    assert pair.winner == "b"
    assert pair.probability < 0.5
    assert pair.confident


def test_a_batch_of_16_agrees_with_one_by_one(golden: LibreHPS) -> None:
    items = [BatchItem(STILLS[i % len(STILLS)], PROMPTS[i % len(PROMPTS)]) for i in range(16)]
    assert len({Image.open(item.image).size for item in items}) > 5
    together = golden.score_images_batch(items=items, batch_size=16)
    for item, score in zip(items, together, strict=True):
        alone = golden.score_image(image=item.image, prompt=item.prompt)
        for axis in AXES[:4]:
            one, other = getattr(alone, axis), getattr(score, axis)
            assert one.mean == pytest.approx(other.mean, abs=1e-4)
            assert one.raw_mean == pytest.approx(other.raw_mean, abs=2e-3)


def test_images_and_clips_share_a_batch_in_order(golden: LibreHPS) -> None:
    media = [MEDIA / "clip8.mp4", MEDIA / "small.png", MEDIA / "gone.png", MEDIA / "tall.webm"]
    items = [Item(path.name, path, "a cat") for path in media]
    rows = list(golden.score_items(items, batch_size=16))
    assert [row.item.id for row in rows] == [path.name for path in media]
    assert [row.status for row in rows] == ["ok", "ok", "error", "ok"]
    assert isinstance(rows[2].error, MediaNotFoundError)
    alone = golden.score_video(MEDIA / "tall.webm", "a cat")
    assert rows[3].score.temporal.raw_mean == pytest.approx(alone.temporal.raw_mean, abs=2e-3)


def test_every_way_to_give_an_image_scores_the_same(golden: LibreHPS) -> None:
    path = MEDIA / "small.png"
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    pixels = torch.tensor(list(rgb.tobytes()), dtype=torch.uint8)
    pixels = pixels.view(rgb.height, rgb.width, 3).permute(2, 0, 1)
    ways = [path, str(path), path.read_bytes(), rgb, pixels.float() / 255, pixels]
    scores = {golden.score_image(way, "x") for way in ways}
    assert len(scores) == 1


def test_arrays_score_as_the_files_they_hold(golden: LibreHPS) -> None:
    file = MEDIA / "sq448.png"
    whole = golden.score_image(file, "a cat")
    pixels = np.asarray(Image.open(file).convert("RGB"))
    assert golden.score_image(pixels, "a cat") == whole
    assert golden.score_image(pixels.astype(np.float64) / 255, "a cat") == whole
    with pytest.raises(UnsupportedMediaError, match="H, W, 3"):
        golden.score_image(pixels.transpose(2, 0, 1), "a cat")
    frames = VideoReaders("auto", 1).read(MEDIA / "clip8.mp4", 8).frames
    by_array = golden.score_video(frames.permute(0, 2, 3, 1).numpy(), "a cat", num_frames=8)
    assert by_array == golden.score_video(frames, "a cat", num_frames=8)
    assert by_array == golden.score_video(MEDIA / "clip8.mp4", "a cat", num_frames=8)


def test_media_alone_are_scored_under_one_prompt(golden: LibreHPS) -> None:
    files = [MEDIA / "sq448.png", str(MEDIA / "small.png")]
    rows = list(golden.score_items(files, prompt="a cat"))
    assert [row.item.id for row in rows] == [str(file) for file in files]
    assert rows[0].score is not None
    alone = golden.score_image(files[0], "a cat")
    assert rows[0].score.overall.mu == pytest.approx(alone.overall.mu, abs=2e-3)
    with pytest.raises(UsageError, match="no prompt for"):
        list(golden.score_items(files))


def test_a_batch_takes_paths_and_arrays_under_one_prompt(golden: LibreHPS) -> None:
    file = MEDIA / "sq448.png"
    pixels = np.asarray(Image.open(file).convert("RGB"))
    media = [file, str(file), pixels, Image.open(file), BatchItem(file, "a cat")]
    scores = golden.score_images_batch(media, prompt="a cat")
    assert len(scores) == 5
    for score in scores:
        assert score.overall.mu == pytest.approx(scores[0].overall.mu, abs=2e-3)
    with pytest.raises(UsageError, match="no prompt for"):
        golden.score_images_batch([file])
    with pytest.raises(UnsupportedMediaError):
        golden.score_images_batch([file, Item("a", MEDIA / "clip8.mp4", "a cat")], prompt="a cat")


@pytest.mark.parametrize("pixels", [np.full((32, 32, 3), 255.0), np.full((32, 32, 3), -1.0)])
def test_float_pixels_of_another_range_are_refused(golden: LibreHPS, pixels: np.ndarray) -> None:
    with pytest.raises(UnsupportedMediaError, match=r"\[0, 1\]"):
        golden.score_image(pixels, "x")


def test_scores_as_a_table(golden: LibreHPS, monkeypatch: pytest.MonkeyPatch) -> None:
    media = [MEDIA / "small.png", MEDIA / "gone.png"]
    table = golden.score_table(media, prompt="a cat")
    assert table.to_arrow()["id"].to_pylist() == [str(path) for path in media]
    assert table.to_arrow()["status"].to_pylist() == ["ok", "error"]
    assert table.digest == golden.settings.digest
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExtraNeededError, match="to_pandas needs pandas") as caught:
        table.to_pandas()
    assert caught.value.hint == "Run: pip install pandas"


def test_scores_as_plain_values(golden: LibreHPS) -> None:
    score = golden.score_image(MEDIA / "sq448.png", "a cat")
    assert score.temporal is None
    assert list(score) == list(AXES[:4])
    plain = json.loads(json.dumps(score.to_dict()))
    assert json.dumps(asdict(score)["axes"]["style"])
    assert plain["style_mu"] == score["style"].mu == score["style"].raw_mean
    [row] = golden.score_items([Item("a", MEDIA / "sq448.png", "a cat", extra={"seed": 3})])
    assert {**plain, "id": "a", "status": "ok", "seed": 3}.items() <= row.to_dict().items()


def test_a_list_of_frames_scores_as_the_file_does(golden: LibreHPS) -> None:
    from librehps.media.videos import VideoReader

    clip = VideoReader().read(MEDIA / "clip8.mp4", 100)
    by_list = golden.score_video(list(clip.frames), "x", num_frames=8)
    by_file = golden.score_video(MEDIA / "clip8.mp4", "x", num_frames=8)
    assert by_list == by_file


def test_every_sampled_frame_is_used(golden: LibreHPS) -> None:
    frames = [MEDIA / "small.png"] * 5
    base = golden.score_video(frames, "x", num_frames=5)
    for place in range(5):
        changed: list = list(frames)
        with Image.open(MEDIA / "small.png") as image:
            changed[place] = image.convert("RGB").rotate(180)
        assert golden.score_video(changed, "x", num_frames=5) != base, place


def test_frames_of_different_sizes_are_refused(golden: LibreHPS) -> None:
    with pytest.raises(UnsupportedMediaError, match="differ in size"):
        golden.score_video([MEDIA / "small.png", MEDIA / "sq448.png"], "x")


def test_more_frames_than_trained_on_warn(
    golden: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    golden.score_video(MEDIA / "clip24.mp4", "x", num_frames=9, pixel_budget=32 * 32)
    assert "9 frames" in caplog.text


@pytest.mark.parametrize(
    ("image", "prompt", "error"),
    [
        ("small.png", "", EmptyPromptError),
        ("small.png", " \n", EmptyPromptError),
        ("small.png", "word " * 3000, PromptTooLongError),
        ("gone.png", "x", MediaNotFoundError),
    ],
)
def test_errors_are_raised_by_name(
    golden: LibreHPS, image: str, prompt: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        golden.score_image(MEDIA / image, prompt)


@pytest.mark.parametrize("shape", [(3, 2, 500), (3, 500, 2)])
def test_a_strip_is_refused(golden: LibreHPS, shape: tuple[int, ...]) -> None:
    with pytest.raises(AspectRatioError):
        golden.score_image(torch.zeros(shape), "x")


def test_symmetric_probabilities_add_up_to_one(golden: LibreHPS) -> None:
    fit = Platt(0.7, 1.3)
    a, b = MEDIA / "sq448.png", MEDIA / "wide.png"
    forth = golden.compare_images(a, b, "x", calibrator=fit)
    back = golden.compare_images(b, a, "x", calibrator=fit)
    assert forth.probability + back.probability == pytest.approx(1, abs=1e-9)
    assert {forth.winner, back.winner} == {"a", "b"}


def test_compare_videos(golden: LibreHPS) -> None:
    a, b = MEDIA / "clip24.mp4", MEDIA / "tall.webm"
    pair = golden.compare_videos(video_a=a, video_b=b, prompt="x", num_frames=4)
    alone = golden.score_video(a, "x", num_frames=4)
    assert pair.score_a.temporal.raw_mean == pytest.approx(alone.temporal.raw_mean, abs=2e-3)
    higher = "a" if pair.score_a.overall.raw_mean > pair.score_b.overall.raw_mean else "b"
    assert pair.winner == higher


def test_a_calibrator_of_another_model_is_refused(golden: LibreHPS) -> None:
    image = MEDIA / "small.png"
    with pytest.raises(CalibratorMismatchError, match="was fitted for"):
        golden.compare_images(
            image, image, "x", calibrator=Platt(1, 0, "LibreHPS-Tiny", "0123456789ab")
        )
    with pytest.raises(CalibratorMismatchError):
        golden.calibrator(EXAMPLES.parent / "calibration.json")


def test_settings_tell_what_a_score_depends_on(golden: LibreHPS) -> None:
    again = LibreHPS.from_pretrained(CHECKPOINT, num_frames=6)
    assert golden.settings.num_frames == 8
    assert again.settings.fingerprint == golden.settings.fingerprint
    assert again.settings.digest != golden.settings.digest
    assert len(golden.settings.digest) == 12


def test_bfloat16_stays_near_float32(golden: LibreHPS) -> None:
    model = LibreHPS.from_pretrained(CHECKPOINT, dtype="bfloat16")
    assert model.settings.dtype == "bfloat16"
    exact = golden.score_image(MEDIA / "small.png", "x").style.raw_mean
    # The golden head is steep: the reference's own bfloat16 strays by 5 in mu.
    assert model.score_image(MEDIA / "small.png", "x").style.raw_mean == pytest.approx(exact, abs=3)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_backends_agree(golden: LibreHPS, attention: str) -> None:
    model = LibreHPS.from_pretrained(CHECKPOINT, attn_impl=attention)
    assert model.settings.attention == attention
    for name in ("sq448.png", "wide.png"):
        one = golden.score_image(MEDIA / name, "a cat").overall.raw_mean
        other = model.score_image(MEDIA / name, "a cat").overall.raw_mean
        assert one == pytest.approx(other, abs=2e-3)


@pytest.mark.parametrize("media", [None, 3, object(), bytearray(b"x")])
def test_media_of_no_known_kind_cost_their_row_only(golden: LibreHPS, media: object) -> None:
    items = [Item("bad", media, "x"), Item("odd", MEDIA / "small.png", 5)]  # type: ignore[arg-type]
    rows = list(golden.score_items([*items, Item("good", MEDIA / "small.png", "x")]))
    assert [row.status for row in rows] == ["error", "error", "ok"]
