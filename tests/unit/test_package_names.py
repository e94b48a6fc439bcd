"""Code written for the package librehps 1.1.2: its names, signatures and attributes work here."""

import inspect
import json
import math
from pathlib import Path

import pytest
from PIL import Image

import librehps.evaluate.calibration as calibration
import librehps.inference
from conftest import EXAMPLES
from librehps import LibreHPS
from librehps.decide.probability import Rules
from librehps.errors import CalibrationError, MediaNotFoundError, UsageError

MEDIA = EXAMPLES / "media"
PROMPT = "a red circle left of a blue square"

# Script of a user of that package, who never saw ours.
SCRIPT = """
from PIL import Image
from librehps import (
    DEFAULT_PROBABILITY_CUTOFF, DEFAULT_SIGMA_CEILING, DEFAULT_TEMPERATURE, MAX_BATCH_SIZE,
    BatchItem, CheckpointLoadError, ImageScore, InferenceContractError, LibreHPS, PairComparison,
    ScoreAxis, VideoScore, __version__,
)
from librehps.evaluate.calibration import PlattCalibrator, load_platt_calibrator

AXES = ("overall", "alignment", "coherence", "style", "temporal")

scorer = LibreHPS.from_pretrained(name_or_path="tiny", device="cpu", attn_impl="sdpa")
print(scorer.device, scorer.dtype, scorer.is_moe, scorer.checkpoint_path.name)
score: ImageScore = scorer.score_image(image=media + "/match.png", prompt=prompt)
for name in AXES:
    axis: ScoreAxis | None = getattr(score, name)
    if axis is None:
        continue
    print(name, round(axis.mean, 3), round(axis.sigma, 3), axis.raw_mean_or_mean == axis.raw_mean)
video: VideoScore = scorer.score_video(video=media + "/steady.mp4", prompt=prompt, num_frames=4)
assert video.temporal.mean > 0

paths = [media + "/match.png", media + "/torn.png", media + "/blurred.png"]
items = [BatchItem(prompt=prompt, image=Image.open(path)) for path in paths]
scores = scorer.score_images_batch(items=items, batch_size=min(len(items), MAX_BATCH_SIZE))
best = max(range(len(scores)), key=lambda i: scores[i].overall.raw_mean)

pair: PairComparison = scorer.compare_images(
    image_a=paths[0], image_b=paths[1], prompt=prompt,
    probability_cutoff=DEFAULT_PROBABILITY_CUTOFF,
    sigma_ceiling=DEFAULT_SIGMA_CEILING,
    temperature=DEFAULT_TEMPERATURE,
    calibrator=PlattCalibrator(a=1.5, b=0.0),
)
print(pair.winner, pair.confident, pair.calibrator_a, pair.calibrator_b)
assert pair.a.overall.raw_mean > pair.b.overall.raw_mean
try:
    scorer.score_image(image="gone.png", prompt=prompt)
except InferenceContractError as error:
    print("cannot score:", error)
try:
    LibreHPS.from_pretrained("/gone")
except CheckpointLoadError:
    print("cannot load")
"""


def test_a_script_for_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = {"media": str(MEDIA), "prompt": PROMPT}
    exec(compile(SCRIPT, "script", "exec"), names)  # noqa: S102 - as its user runs it
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("cpu torch.float32 False ")
    assert [line.split()[0] for line in said[1:5]] == ["overall", "alignment", "coherence", "style"]
    assert all(line.endswith(" True") for line in said[1:5])
    assert said[5] == "a True 1.5 0.0"
    assert said[6:] == ["cannot score: gone.png does not exist", "cannot load"]
    assert names["best"] == 0
    assert names["score"].temporal is None


# Parameters of each function by name; those that the docs list as different are not here.
SIGNATURES = {
    "from_pretrained": {"name_or_path", "dtype", "device", "attn_impl"},
    "score_image": {"image", "prompt"},
    "score_video": {"video", "prompt", "num_frames"},
    "score_images_batch": {"items", "batch_size"},
}
COMPARE = {"image_a", "image_b", "prompt", "calibrator"}
RULES = {"probability_cutoff", "sigma_ceiling", "temperature"}
FIELDS = [
    "winner", "probability", "confident", "a", "b", "probability_cutoff", "sigma_ceiling",
    "temperature", "calibrator_a", "calibrator_b",
]  # fmt: skip


def test_signatures_take_the_same_names() -> None:
    for name, parameters in SIGNATURES.items():
        assert parameters <= {*inspect.signature(getattr(LibreHPS, name)).parameters}
    assert {*inspect.signature(LibreHPS.compare_images).parameters} >= COMPARE
    assert Rules.__annotations__.keys() >= RULES


def test_the_module_inference_has_the_package_s_names() -> None:
    for name in librehps.inference.__all__:
        assert getattr(librehps.inference, name) is getattr(librehps, name), name


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_comparison_has_its_fields(tiny: LibreHPS, temperature: float) -> None:
    """The uncalibrated formula, from the fields alone."""
    pair = tiny.compare_images(
        image_a=MEDIA / "match.png", image_b=MEDIA / "torn.png", prompt=PROMPT,
        temperature=temperature, sigma_ceiling=1e-9, probability_cutoff=0.5,
    )  # fmt: skip
    a, b = pair.a.overall, pair.b.overall
    logit = (a.raw_mean - b.raw_mean) / (temperature * math.hypot(a.sigma, b.sigma))
    assert pair.probability == pytest.approx(1 / (1 + math.exp(-logit)))
    assert [*vars(pair)] == FIELDS
    assert (pair.winner, pair.confident) == ("a", False)  # no sigma is below that ceiling
    told = (pair.probability_cutoff, pair.sigma_ceiling, pair.temperature)
    assert told == (0.5, 1e-9, temperature)
    assert (pair.calibrator_a, pair.calibrator_b) == (None, None)
    assert (pair.score_a, pair.score_b) == (pair.a, pair.b)


def test_a_comparison_names_the_ceiling_that_counted(tiny: LibreHPS) -> None:
    pair = tiny.compare_images(
        image_a=MEDIA / "match.png", image_b=MEDIA / "torn.png", prompt=PROMPT,
        sigma_ceiling=None, sigma_cutoff=1e-9,
    )  # fmt: skip
    assert (pair.confident, pair.sigma_ceiling) == (False, 1e-9)


class Fit:
    """A calibrator of somebody's own: two numbers."""

    a, b = 0.7, 0.2


@pytest.mark.parametrize("calibrator", [{"a": 0.7, "b": 0.2}, Fit(), "file"])
def test_calibrators(tiny: LibreHPS, tmp_path: Path, calibrator: object) -> None:
    if calibrator == "file":
        file = tmp_path / "calibration.json"
        file.write_text(json.dumps({"a": 0.7, "b": 0.2}))
        calibrator = calibration.load_platt_calibrator(file)
        assert (calibrator.a, calibrator.b) == (0.7, 0.2)
    a, b = (Image.open(MEDIA / name) for name in ("match.png", "torn.png"))
    pair = tiny.compare_images(a, b, PROMPT, calibrator=calibrator, symmetric=False)
    gap = pair.a.overall.raw_mean - pair.b.overall.raw_mean
    fit = calibration.PlattCalibrator.from_dict({"a": 0.7, "b": 0.2})
    assert pair.probability == pytest.approx(fit.apply(gap))
    assert (pair.calibrator_a, pair.calibrator_b) == (0.7, 0.2)
    assert fit.apply_array([gap, -1e4, 1e4]) == pytest.approx([fit.apply(gap), 0, 1])
    assert fit.to_dict() == {"a": 0.7, "b": 0.2}


def test_calibrators_that_are_none(tiny: LibreHPS) -> None:
    for wrong in ({"a": 1.0}, {"a": float("nan"), "b": 0.0}, object()):
        with pytest.raises(CalibrationError, match="expected"):
            tiny.compare_images(MEDIA / "match.png", MEDIA / "torn.png", PROMPT, calibrator=wrong)


def test_a_temperature_that_would_not_count(tiny: LibreHPS) -> None:
    one, two = MEDIA / "match.png", MEDIA / "torn.png"
    with pytest.raises(UsageError, match="temperature: expected above 0, got 0"):
        tiny.compare_images(one, two, PROMPT, temperature=0)
    with pytest.raises(UsageError, match="temperature: expected 1"):
        tiny.compare_images(one, two, PROMPT, calibrator=Fit(), temperature=2.0)


def test_calibrators_by_benchmark(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    named = {"hpdv3": {"a": 2.0, "b": 0.1}}
    file.write_text(json.dumps({"per_benchmark": named, "global": {"a": 1.0, "b": 0.0}}))
    fits = calibration.load_platt_calibrator(file)
    assert isinstance(fits, calibration.PerBenchmarkPlattCalibrator)
    assert fits.get(None) == fits.default
    assert fits.calibrators["hpdv3"] == fits.get("hpdv3")
    assert calibration.load_platt_calibrator(file, benchmark="hpdv3").a == 2.0
    with pytest.raises(calibration.CalibrationContractError, match="no fit for benchmark"):
        fits.get("other")


def test_errors_are_caught_by_the_package_s_names() -> None:
    assert issubclass(MediaNotFoundError, librehps.InferenceContractError)
    assert issubclass(UsageError, librehps.InferenceContractError)
