"""Pixels of trainers: every shape that one of them hands over, and what is said of the others."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import EXAMPLES
from librehps import Item, LibreHPS
from librehps.errors import NothingScoredError, UnsupportedMediaError, UsageError
from librehps.media.images import load_pixels
from librehps.rewards import ddpo_reward, shapes, trl_reward
from librehps.rewards.pictures import readable

PROMPT = "a red circle left of a blue square"
MATCH = EXAMPLES / "media" / "match.png"


class OnDevice:
    """Pixels of a library that copies none from a GPU by itself, as cupy."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("implicit conversion is not allowed")


class Foreign:
    """Pixels of another library, as jax and tensorflow have them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


def rgb() -> torch.Tensor:
    return load_pixels(MATCH)


def hwc() -> np.ndarray:
    return np.asarray(Image.open(MATCH).convert("RGB"))


def rewards(model: LibreHPS, media: list, **options: Any) -> list:
    return trl_reward(model, image_column="image", **options)(
        media, prompts=[PROMPT] * len(media), image=media
    )


def test_every_shape_of_one_image_scores_as_its_file(tiny: LibreHPS) -> None:
    mu = tiny.score_image(MATCH, PROMPT).overall.raw_mean
    ways = [
        rgb(),
        rgb()[None],
        rgb()[None, None],
        rgb().permute(1, 2, 0),
        rgb().permute(1, 2, 0)[None],
        rgb()[:, None],
        rgb().float() / 255,
        hwc(),
        hwc()[None],
        hwc().transpose(2, 0, 1),
        np.ascontiguousarray(hwc()[:, ::-1])[:, ::-1],
        hwc().astype(np.float16) / np.float16(255),
        Foreign(hwc()),
        [MATCH],
        (rgb(),),
        bytearray(MATCH.read_bytes()),
        memoryview(MATCH.read_bytes()),
        np.str_(MATCH),
    ]
    assert rewards(tiny, ways) == pytest.approx([mu] * len(ways), abs=2e-3)


def test_grey_and_transparent_pixels_score_as_pillow_reads_them(tiny: LibreHPS) -> None:
    grey, clear = (Image.open(MATCH).convert(mode) for mode in ("L", "RGBA"))
    clear.putalpha(128)
    levels, rgba = torch.from_numpy(np.array(grey)), torch.from_numpy(np.array(clear))
    ways = [grey, levels, levels[None], levels[..., None].numpy(), levels.numpy(), levels / 255]
    found = rewards(tiny, ways)
    assert found == pytest.approx(found[:1] * len(ways), abs=2e-3)
    ways = [clear, rgba, rgba.permute(2, 0, 1), rgba.numpy(), rgba / 255]
    again = rewards(tiny, ways)
    assert again == pytest.approx(again[:1] * len(ways), abs=2e-3)
    assert abs(again[0] - found[0]) > 0.01
    with pytest.raises(UsageError, match=r"expected \[0, 1\], got -0"):
        rewards(tiny, [rgba / 127.5 - 1])
    assert rewards(tiny, [torch.full((4, 64, 64), math.nan)]) == [None]


def test_a_batch_of_clips_in_each_order(tiny: LibreHPS) -> None:
    noise = torch.rand(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    levels = (noise * 255).round().to(torch.uint8)
    reward = ddpo_reward(tiny, axis="temporal")()
    wanted, _ = reward(levels, [PROMPT] * 2, None)
    assert wanted.isfinite().all()
    for clips in (levels.permute(0, 1, 3, 4, 2), levels.transpose(1, 2)):
        for batch in (clips, clips.numpy(), [*clips], [clip[None] for clip in clips]):
            found, _ = reward(batch, [PROMPT] * 2, None)
            assert np.array_equal(np.asarray(found), wanted.numpy())
    as_lists, _ = ddpo_reward(tiny, axis="temporal", frames=True)()(
        [[Image.fromarray(f.permute(1, 2, 0).numpy()) for f in clip] for clip in levels],
        [PROMPT] * 2,
        None,
    )
    assert np.array_equal(as_lists, wanted.numpy())


def test_two_pictures_in_a_cell_are_no_clip(
    tiny: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    pair = [Image.open(MATCH), Image.open(MATCH)]
    said = [{"role": "assistant", "content": [{"type": "image", "image": one} for one in pair]}]
    assert rewards(tiny, [pair, [MATCH, MATCH], [rgb(), rgb()], [], said]) == [None] * 5
    assert "2 images in one sample" in caplog.text and "frames=True" in caplog.text
    assert rewards(tiny, [pair], axis="temporal", frames=True) != [None]
    clip = torch.stack([rgb(), rgb()])
    assert rewards(tiny, [[clip, clip]], frames=True) == [None]
    assert rewards(tiny, [clip], axis="temporal") != [None]


@pytest.mark.parametrize(
    ("media", "said"),
    [
        (torch.zeros(()), "shape ()"),
        (torch.zeros(7), "shape (7,)"),
        (torch.zeros(2, 64, 64), "shape (2, 64, 64)"),
        (torch.zeros(16, 64, 64), "shape (16, 64, 64)"),
        (torch.zeros(3, 0, 64), "shape (3, 0, 64)"),
        (torch.zeros(4, 1, 64, 64), "shape (4, 1, 64, 64)"),
        (torch.zeros(2, 5, 3, 64, 64), "shape (2, 5, 3, 64, 64)"),
        (np.zeros((64, 64, 5)), "shape (64, 64, 5)"),
        (torch.zeros(3, 64, 64, dtype=torch.int64), "type int64"),
        (torch.zeros(3, 64, 64, dtype=torch.bool), "type bool"),
        (np.zeros((64, 64, 3), complex), "type complex128"),
        (torch.zeros(3, 64, 64, dtype=torch.float8_e4m3fn), "type float8_e4m3fn"),
        (torch.zeros(3, 64, 64).to_sparse(), "type float32 sparse_coo"),
        (torch.zeros(3, 64, 64, device="meta"), "type float32 meta"),
        (np.array([MATCH, None]), "type object"),
        (OnDevice(), "type OnDevice: implicit conversion"),
        (7, "got int"),
        (Decimal(1), "got Decimal"),
        ({"other": 1}, "expected bytes or path"),
        (None, "None"),
    ],
    # The text of an object has its address, which differs between the processes of a test run.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_other_media_are_an_error_of_the_item_that_names_them(
    tiny: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: Any, media: Any, said: str
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    first, second = rewards(tiny, [media, MATCH])
    assert first is None and second is not None
    assert said in caplog.text


@pytest.mark.parametrize(
    ("images", "prompts", "said"),
    [
        (torch.zeros(3, 64, 64), [PROMPT] * 3, "shape (3, 64, 64)"),
        (torch.zeros(()), [PROMPT], "shape ()"),
        (np.zeros((64, 64, 3)), [PROMPT] * 64, "shape (64, 64, 3)"),
        (None, [PROMPT], "images: expected a sequence, got NoneType"),
        ((image for image in [MATCH]), [PROMPT], "got generator"),
        (MATCH, [PROMPT], "got PosixPath"),
        ("ab", [PROMPT] * 2, "images: expected a sequence, got str"),
        ([MATCH] * 2, "ab", "prompts: expected a sequence, got str"),
        ([MATCH], None, "prompts: expected a sequence, got NoneType"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_batch_that_is_none_is_refused(
    tiny: LibreHPS, images: Any, prompts: Any, said: str
) -> None:
    with pytest.raises(UsageError) as found:
        ddpo_reward(tiny)()(images, prompts, None)
    assert said in str(found.value)
    with pytest.raises(UsageError):
        trl_reward(tiny)(prompts, images)


def test_an_array_of_file_names_is_a_batch(tiny: LibreHPS) -> None:
    mu = tiny.score_image(MATCH, PROMPT).overall.raw_mean
    for kind in (str, object):
        assert ddpo_reward(tiny)()(np.array([str(MATCH)], kind), [PROMPT])[0] == pytest.approx([mu])


def test_two_dimensions_are_grey_whatever_their_size() -> None:
    grey = np.arange(192, dtype=np.uint8).reshape(64, 3)
    assert shapes.from_pixels(grey).shape == (3, 64, 3)


def test_score_image_refuses_sparse_tensors(tiny: LibreHPS) -> None:
    with pytest.raises(UnsupportedMediaError, match="dense tensor"):
        tiny.score_image(torch.zeros(3, 64, 64).to_sparse(), PROMPT)
    with pytest.raises(UnsupportedMediaError, match="on the device meta"):
        replace(tiny.engine().decoder, resize_on=torch.device("cpu")).decode(
            Item("x", torch.zeros(3, 64, 64, device="meta"), PROMPT)
        )


def test_nothing_but_bad_shapes(tiny: LibreHPS) -> None:
    with pytest.raises(NothingScoredError):
        ddpo_reward(tiny)()(torch.zeros(2, 7, 64, 64), [PROMPT] * 2)


def test_dropped_gradients_are_told_once(
    tiny: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    shapes._warn_of_gradients.cache_clear()
    images = (rgb().float() / 255)[None].requires_grad_()
    for _ in range(2):
        scores, _ = ddpo_reward(tiny)()(images, [PROMPT])
        assert not scores.requires_grad
    told = [text for text in caplog.messages if "gradients" in text]
    assert len(told) == 1 and "reward_gradient" in told[0]


@pytest.mark.parametrize(
    ("media", "kind", "is_clip"),
    [
        (lambda: rgb().permute(1, 2, 0), None, False),
        (lambda: [Image.open(MATCH)] * 2, None, True),
        (lambda: [Image.open(MATCH)], "video", True),
        (lambda: rgb()[None], "video", True),
        (lambda: rgb()[None], None, False),
    ],
)
def test_an_item_with_a_list_is_a_clip_as_ever(
    media: Callable[[], Any], kind: Any, is_clip: bool
) -> None:
    assert isinstance(readable(Item("0", media(), PROMPT, kind)).media, list) == is_clip
    assert readable(Item("0", torch.zeros(7), PROMPT)).problem is not None
