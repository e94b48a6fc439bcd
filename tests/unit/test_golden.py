"""Every golden vector, through the public API, within the tolerances of its README."""

import math

import pytest
import torch

from conftest import MEDIA
from librehps import AXES, ImageScore, LibreHPS
from librehps.decide.probability import Platt
from librehps.media.videos import VideoReader

MU, CALIBRATED, LOGIT = 5e-3, 1e-2, 0.02
ALL_FRAMES = 10_000


def check_scores(score: ImageScore, expected: dict) -> None:
    for axis, values in expected.items():
        ours = getattr(score, axis)
        assert ours.raw_mean == pytest.approx(values["raw_mean"], abs=MU), axis
        assert ours.mean == pytest.approx(values["mean"], abs=MU), axis
        assert ours.sigma == pytest.approx(values["sigma"], rel=2e-2, abs=1e-6), axis


def test_images(golden: LibreHPS, expected: dict) -> None:
    assert len(expected["images"]) == 40
    for case in expected["images"]:
        score = golden.score_image(image=MEDIA / case["image"], prompt=case["prompt"])
        check_scores(score, case["scores"])


def test_pairs(golden: LibreHPS, expected: dict) -> None:
    assert len(expected["pairs"]) == 18
    for case in expected["pairs"]:
        fit = case["calibrator"]
        pair = golden.compare_images(
            image_a=MEDIA / case["image_a"],
            image_b=MEDIA / case["image_b"],
            prompt=case["prompt"],
            calibrator=fit and Platt(fit["a"], fit["b"]),
            symmetric=False,
        )
        assert (pair.winner, pair.confident) == (case["winner"], case["confident"])
        if fit:
            assert pair.probability == pytest.approx(case["probability"], abs=CALIBRATED)
        elif case["probability"] == 1.0:
            # The reference's float32 has no room between this and 1.
            assert pair.probability > 1 - 2**-24
        else:
            assert logit(pair.probability) == pytest.approx(logit(case["probability"]), rel=LOGIT)


@pytest.mark.slow
def test_videos(golden: LibreHPS, expected: dict) -> None:
    assert len(expected["videos"]) == 12
    readers = [VideoReader(backend) for backend in ("decord", "pyav")]
    for case in expected["videos"]:
        clip, other = (reader.read(MEDIA / case["video"], ALL_FRAMES) for reader in readers)
        assert torch.equal(clip.frames, other.frames)
        chosen = [case["sampled_frame_indices"][at] for at in case["used_of_sampled"]]
        frames = [clip.frames[index] for index in chosen]
        score = golden.score_video(video=frames, prompt=case["prompt"], pixel_budget=0)
        assert set(case["scores"]) == set(AXES)
        check_scores(score, case["scores"])


def logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)
