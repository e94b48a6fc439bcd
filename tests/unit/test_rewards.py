"""Rewards: TRL's and DDPO's conventions, the exact scores behind them, the examples."""

import copy
import gc
import inspect
import json
import logging
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import EXAMPLES, Cli
from librehps import LibreHPS
from librehps.errors import LibreHPSError, NothingScoredError, UsageError
from librehps.media.images import load_pixels
from librehps.models.librehps.resize import resize, resize_as_floats
from librehps.rewards import ddpo_reward, trl_reward

sys.path.insert(0, str(EXAMPLES))
sys.path.insert(0, str(EXAMPLES / "tiny"))
import best_of_n_loop
import drawing
import scenes

MEDIA = EXAMPLES / "media"
PROMPT = "a red circle left of a blue square"
STILLS = [MEDIA / f"{name}.png" for name in ("match", "torn", "swapped", "blurred")]
# What the batch may change, in mu.
BOUND = 2e-3


@pytest.fixture(scope="module")
def mus(tiny: LibreHPS) -> list[float]:
    return [tiny.score_image(path, PROMPT).overall.raw_mean for path in STILLS]


def floats() -> torch.Tensor:
    """(4, 3, H, W) in [0, 1]: what a diffusion trainer holds."""
    return torch.stack([load_pixels(path) for path in STILLS]).float() / 255


def arrays() -> np.ndarray:
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in STILLS])


def called(reward: Any, completions: list, prompts: list | None = None, **columns: Any) -> list:
    """Return the rewards of a call with keywords only, like GRPOTrainer's."""
    return reward(
        prompts=prompts or [PROMPT] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        trainer_state=None,
        log_extra=lambda column, values: None,
        log_metric=columns.pop("log_metric", None),
        **columns,
    )


def chat(*content: Any, role: str = "user") -> dict:
    return {"role": role, "content": content[0] if len(content) == 1 else list(content)}


@pytest.mark.parametrize(
    "ways",
    [
        STILLS,
        [path.read_bytes() for path in STILLS],
        [Image.open(path) for path in STILLS],
        list(floats()),
        floats(),
        [tensor[None] for tensor in floats()],
        list(arrays()),
        arrays(),
        list((arrays() / 255).astype(">f8")),
        list((arrays() / 255).astype(np.longdouble)),
        [{"bytes": path.read_bytes(), "path": None} for path in STILLS],
        [
            [chat({"type": "text", "text": "here"}, {"type": "image", "image": path}, role="a")]
            for path in STILLS
        ],
    ],
    ids=[
        *("paths", "bytes", "PIL", "tensors", "tensor", "of-one", "arrays", "array"),
        *("big-endian", "longdouble", "dataset", "chat"),
    ],
)
def test_completions_are_pictures(tiny: LibreHPS, mus: list[float], ways: list) -> None:
    assert called(trl_reward(tiny), ways) == pytest.approx(mus, abs=BOUND)


@pytest.mark.parametrize(
    "prompt",
    [
        [chat(PROMPT)],
        [
            chat("You draw.", role="system"),
            chat({"type": "image"}, {"type": "text", "text": PROMPT}),
        ],
        [chat("a cat"), chat("Which?", role="assistant"), chat(PROMPT)],
        [chat(PROMPT, role="other")],
    ],
)
def test_prompts_are_chat_messages(tiny: LibreHPS, mus: list[float], prompt: list) -> None:
    found = called(trl_reward(tiny), STILLS, [prompt] * len(STILLS))
    assert found == pytest.approx(mus, abs=BOUND)


def test_pictures_and_prompts_of_the_dataset(tiny: LibreHPS, mus: list[float]) -> None:
    reward = trl_reward(tiny, image_column="made", prompt_column="caption")
    words, captions = ["text"] * 4, [PROMPT] * 4
    found = called(reward, words, ["draw it"] * 4, made=STILLS, caption=captions)
    assert found == pytest.approx(mus, abs=BOUND)
    with pytest.raises(UsageError, match="column not found: 'made'"):
        called(reward, words, caption=captions)


def test_a_renderer_gets_the_row(tiny: LibreHPS, mus: list[float]) -> None:
    seen = []

    def to_image(completion: str, folder: str, prompt: str, **rest: Any) -> Any:
        seen.append((completion, prompt, rest))
        if completion == "none":
            return None
        if completion == "broken":
            raise ValueError("no such shape")
        return Path(folder, f"{completion}.png")

    def wrong(completion: str, **row: Any) -> Any:
        raise RuntimeError("a fault of the renderer")

    texts = ["match", [chat("torn", role="assistant")], "none", "broken"]
    columns = {"folder": [str(MEDIA)] * 4, "extra": [1, 2, 3, 4], "trainer": object()}
    found = called(trl_reward(tiny, to_image=to_image), texts, **columns)
    assert found == [pytest.approx(mus[0], abs=BOUND), pytest.approx(mus[1], abs=BOUND), None, None]
    assert seen[1] == ("torn", PROMPT, {"extra": 2})
    punished = called(trl_reward(tiny, to_image=to_image, unrendered=-9.0), texts, **columns)
    assert punished == [*found[:2], -9.0, -9.0]
    useless = [Image.new("RGB", (4000, 4)), torch.full((3, 8, 8), math.nan), b"", STILLS[0]]
    reward = trl_reward(tiny, to_image=lambda text, **row: useless[int(text)], unrendered=-9.0)
    assert called(reward, ["0", "1", "2", "3"], [PROMPT] * 3 + [""]) == [-9.0, -9.0, -9.0, None]
    with pytest.raises(RuntimeError, match="fault"):
        called(trl_reward(tiny, to_image=wrong), texts)


def test_none_where_there_is_no_score_and_why(
    tiny: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    reward, logged = trl_reward(tiny), {}
    media = [STILLS[0], MEDIA / "gone.png", torch.full((3, 8, 8), math.nan), *STILLS[:2]]
    prompts = [PROMPT, PROMPT, PROMPT, " ", math.nan]
    for _ in range(2):
        found = called(reward, media, prompts, log_metric=logged.__setitem__)
        assert [value is None for value in found] == [False, True, True, True, True]
    told = [record.getMessage() for record in caplog.records if "no reward" in record.getMessage()]
    assert len(told) == 4
    for kind, line in zip(("NotFound", "Unsupported", "is empty", "float"), told, strict=True):
        assert kind in line
    assert logged["librehps_overall_mu/scored"] == 0.2
    assert logged["librehps_overall_mu/overall_mu"] == found[0]
    assert "librehps_overall_mu/temporal_mu" not in logged


def test_later_faults_of_a_kind_are_told_too(
    tiny: LibreHPS, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    called(trl_reward(tiny), [Path(f"{at}.png") for at in range(99)])
    told = [record.getMessage() for record in caplog.records]
    assert [line.split()[3] for line in told] == ["0.png", "1.png", "2.png", "9.png"]
    assert "(10 of this kind so far)" in told[3]


def test_axes_weights_and_scales(tiny: LibreHPS) -> None:
    score = tiny.score_image(STILLS[1], PROMPT)
    mix = {"overall": 1, "coherence": -0.5}
    expected = {
        "librehps_alignment_mu": (trl_reward(tiny, axis="alignment"), score.alignment.raw_mean),
        "librehps_style_mean": (trl_reward(tiny, axis="style", scale="mean"), score.style.mean),
        "mine": (
            trl_reward(tiny, weights=mix, name="mine", axis=None, scale=None),
            score.overall.raw_mean - 0.5 * score.coherence.raw_mean,
        ),
    }
    for name, (reward, value) in expected.items():
        assert reward.__name__ == name
        assert called(reward, [STILLS[1]]) == [pytest.approx(value, abs=BOUND)]
    assert called(trl_reward(tiny, axis="temporal"), [STILLS[1]]) == [None]
    clip = tiny.score_video(MEDIA / "steady.mp4", PROMPT)
    moves = called(trl_reward(tiny, axis="temporal"), [MEDIA / "steady.mp4"])
    assert moves == [pytest.approx(clip.temporal.raw_mean, abs=BOUND)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"axis": "beauty"},
        {"weights": {}},
        {"weights": {"overall": 0}},
        {"weights": {"overall": math.nan}},
        {"axis": "style", "weights": {"overall": 1}},
        {"scale": "rank"},
        {"resize": "gpu"},
        {"to_image": str, "image_column": "image"},
        {"wieghts": {"alignment": 1}},
        {"axes": "style"},
        {"device": "cpu"},
        {"weights": {"overall=2,alignment": 1}},
        {"weights": ["overall"]},
        {"weights": {"overall": None}},
        {"unrendered": -1.0},
        {"to_image": str, "unrendered": math.nan},
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(tiny: LibreHPS, wrong: dict) -> None:
    with pytest.raises(UsageError):
        trl_reward(tiny, **wrong)


def test_ddpo_refuses_what_it_does_not_know(tiny: LibreHPS) -> None:
    with pytest.raises(UsageError, match="weigths") as found:
        ddpo_reward(tiny, weigths={"style": 1})
    assert "axis, weights, scale, resize" in found.value.hint


def test_a_policy_that_writes_a_files_name_gains_nothing(tiny: LibreHPS) -> None:
    name = str(STILLS[0])
    said = chat({"type": "image", "image": name}, role="assistant")
    found = called(trl_reward(tiny), [name, [said], [name], {"path": name}, STILLS[0]])
    assert [reward is None for reward in found] == [True] * 4 + [False]
    with pytest.raises(UsageError, match="got text"):
        called(trl_reward(tiny), [name])


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_copy_of_a_local_reward_fails_with_one_error(tiny: LibreHPS) -> None:
    with pytest.raises(TypeError):
        copy.deepcopy(trl_reward(tiny))
    gc.collect()


def test_samples_that_do_not_match_are_refused(tiny: LibreHPS) -> None:
    with pytest.raises(UsageError, match="4 completions"):
        called(trl_reward(tiny), STILLS, [PROMPT])


def test_pixels_of_another_range_are_refused_together(tiny: LibreHPS) -> None:
    images = floats()
    # The others of this batch in [-1, 1] are bright, and would pass by themselves.
    images[0] = images[0] * 2 - 1
    with pytest.raises(UsageError, match="float pixels") as found:
        ddpo_reward(tiny)("cpu")(images, [PROMPT] * 4, None)
    assert "(x + 1) / 2" in found.value.hint
    with pytest.raises(UsageError, match="float pixels"):
        called(trl_reward(tiny), list(images.numpy()[:2].transpose(0, 2, 3, 1)))


def test_text_without_a_renderer_is_refused(tiny: LibreHPS) -> None:
    with pytest.raises(UsageError, match="got text"):
        called(trl_reward(tiny), ["a fine picture", [chat("another", role="assistant")]])


def test_ddpo_scores_tensors_and_arrays_as_files(tiny: LibreHPS, mus: list[float]) -> None:
    reward = ddpo_reward(tiny)("cpu")
    exact = reward(arrays(), [PROMPT] * 4, [{}] * 4)[0]
    for images in (floats(), floats().bfloat16(), (floats() * 255).round().to(torch.uint8)):
        scores, info = reward(images, (PROMPT,) * 4, ({},) * 4)
        assert (scores.dtype, scores.shape) == (torch.float32, (4,))
        if images.dtype != torch.bfloat16:
            assert np.array_equal(scores.numpy(), exact)
    assert (exact.dtype, exact.shape) == (np.float32, (4,))
    assert exact == pytest.approx(mus, abs=BOUND)
    assert info["scored"].all()
    assert set(info) == {"scored", "overall_mu", "alignment_mu", "coherence_mu", "style_mu"}


def test_one_image_scores_exactly_as_score_image(tiny: LibreHPS, mus: list[float]) -> None:
    reward = ddpo_reward(tiny)("cpu")
    for at, mu in enumerate(mus):
        scores, _ = reward(floats()[at : at + 1], [PROMPT], None)
        assert scores.item() == np.float32(mu)


def test_ddpo_names_a_model_and_scores_clips() -> None:
    reward = ddpo_reward("tiny", axis="temporal", scale="mean")("cpu")
    random_frames = torch.rand(2, 4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    by_tensor, info = reward(random_frames, [PROMPT] * 2, None)
    levels = (random_frames * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    by_array, _ = reward(levels, [PROMPT] * 2, None)
    assert np.array_equal(by_tensor.numpy(), by_array)
    assert ((by_array > 0) & (by_array < 1)).all()
    assert "temporal" in info


def test_ddpo_fills_what_is_missing(tiny: LibreHPS) -> None:
    images, prompts = floats(), [PROMPT, PROMPT, PROMPT, "a star"]
    images[1, 0, 0, 0] = math.nan
    scores, info = ddpo_reward(tiny)(None)(images, prompts, None)
    assert info["scored"].tolist() == [True, False, True, True]
    assert scores[1] == pytest.approx((scores[0] + scores[2]) / 2)
    assert math.isnan(info["overall_mu"][1])
    prompts[1] = "nobody else's"
    alone, _ = ddpo_reward(tiny)(None)(images, prompts, None)
    assert alone[1] == pytest.approx(alone[[0, 2, 3]].mean())
    honest, _ = ddpo_reward(tiny, missing="nan")(None)(images, prompts, None)
    assert honest.isnan().tolist() == [False, True, False, False]
    with pytest.raises(NothingScoredError):
        ddpo_reward(tiny)(None)(images, [""] * 4, None)
    with pytest.raises(UsageError, match="4 images, 1"):
        ddpo_reward(tiny)(None)(images, [PROMPT], None)


def test_resizing_on_the_device_differs_by_as_much_as_is_said(
    tiny: LibreHPS, mus: list[float]
) -> None:
    reward = ddpo_reward(tiny, resize="device")("cpu")
    scores, _ = reward(floats(), [PROMPT] * 4, None)
    assert scores.tolist() == pytest.approx(mus, abs=0.06)
    clips, _ = reward(floats()[None], [PROMPT], None)
    exact, _ = ddpo_reward(tiny)("cpu")(floats()[None], [PROMPT], None)
    assert clips.tolist() == pytest.approx(exact.tolist(), abs=0.06)
    mixed = called(trl_reward(tiny, resize="device"), [STILLS[0], floats()[0]])
    assert mixed[0] == pytest.approx(mus[0], abs=BOUND)


@pytest.mark.parametrize("size", [(160, 160), (97, 201), (40, 40), (700, 300)])
def test_the_two_ways_to_resize(size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    exact, floats = resize(pixels, 128 * 128).int(), resize_as_floats(pixels, 128 * 128).int()
    assert exact.shape == floats.shape
    assert (exact - floats).abs().max() <= 2
    assert ((exact - floats) != 0).float().mean() < 0.1


@pytest.mark.slow
def test_the_signature_is_what_trl_calls() -> None:
    grpo = pytest.importorskip("trl.trainer.grpo_trainer")
    source = inspect.getsource(grpo.GRPOTrainer._calculate_rewards)
    names = set(inspect.signature(trl_reward("tiny").__call__).parameters)
    for name in ("prompts", "completions", "completion_ids"):
        assert f"{name}=" in source
    for name in ("trainer_state", "log_extra", "log_metric"):
        assert f'reward_kwargs["{name}"]' in source
        assert name in names


@pytest.mark.slow
def test_grpo_trains_on_the_reward(tiny: LibreHPS, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    import grpo_reward

    reward = trl_reward(tiny, to_image=grpo_reward.draw_words, prompt_column="caption")
    log = [row for row in grpo_reward.train(reward, 2, str(tmp_path)) if "reward" in row]
    assert len(log) == 2
    for row in log:
        # Most words of a random policy name nothing: those are None, and have no part in the mean.
        assert 0 < row["librehps_overall_mu/scored"] < 1
        mean = row["rewards/librehps_overall_mu/mean"]
        assert mean == pytest.approx(row["librehps_overall_mu/overall_mu"])
        assert row["reward"] == mean
        assert math.isfinite(row["loss"])


@pytest.mark.parametrize(
    ("mus", "mean", "why"),
    [
        ([0.0, 1.0, 1.1, 0.5], 0.7, "more would gain little"),
        ([0.0, 1.0, 2.0, 0.5], 0.7, None),
        ([0.0], 0.7, None),
        ([0.0, 2.0], 0.9, "good enough"),
        ([1.0, 3.0] + [0.0] * 6, 0.7, "enough tried"),
    ],
)
def test_when_a_sampling_loop_stops(mus: list[float], mean: float, why: str | None) -> None:
    rules = best_of_n_loop.Rules(most=8, good_enough=0.9, least_gain=0.1)
    assert best_of_n_loop.reason_to_stop(mus, mean, rules) == why


def test_a_sampling_loop_keeps_the_best(tiny: LibreHPS) -> None:
    rng = random.Random(1)
    caption = scenes.random_caption(rng)
    scene = scenes.compose(caption, rng)
    worst, clean = drawing.Defects({"style": 1.0, "coherence": 1.0}), drawing.Defects()

    def generator(prompt: str, seed: int) -> Any:
        return drawing.render(scene, clean if seed == 2 else worst, random.Random(seed), 160)

    rules = best_of_n_loop.Rules(most=6, batch=3)
    best = best_of_n_loop.sample_best(tiny, generator, caption.text, rules)
    assert (best.seed, best.tried, best.why) == (2, 6, "enough tried")
    expected = tiny.score_image(generator("", 2), caption.text).overall.mean
    assert best.mean == pytest.approx(expected, abs=1e-4)


def dockerfile() -> list[list[str]]:
    """Instructions of the example, each as words, without comments."""
    text = (EXAMPLES / "server.Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_dockerfile_copies_what_exists() -> None:
    lines = dockerfile()
    sources = [name for line in lines if line[0] == "COPY" for name in line[1:-1]]
    assert all((EXAMPLES.parent / name).exists() for name in sources)
    # What the build of the wheel reads.
    assert {"pyproject.toml", "README.md", "LICENSE", "core", "librehps_cli"} <= set(sources)
    words = [line[0] for line in lines]
    assert {"USER", "EXPOSE", "HEALTHCHECK"} <= set(words)
    assert words.index("USER") > words.index("RUN")


def test_the_dockerfile_runs_a_command_that_exists(cli: Cli) -> None:
    said = {line[0]: " ".join(line[1:]) for line in dockerfile()}
    text = (EXAMPLES / "server.Dockerfile").read_text()
    command = [*json.loads(said["ENTRYPOINT"]), "--download", "--allowed-host"]
    assert all(word in text for word in command)
    assert command[:2] == ["librehps", "serve"]
    shown = cli("serve", "--help", COLUMNS="200")
    if shown.returncode != 0:
        pytest.skip("there is no `serve` command")
    assert all(flag in shown.stdout for flag in command if flag.startswith("--"))


def test_errors_have_the_one_base() -> None:
    with pytest.raises(LibreHPSError):
        trl_reward("/no/such/model")
