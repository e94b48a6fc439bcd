"""The HPSv3 family against the vectors of its package, and each mistake that moves them."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, PathDistribution
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from librehps import LibreHPS
from librehps.errors import (
    AspectRatioError,
    CheckpointError,
    EmptyPromptError,
    MemoryShortError,
    PromptTooLongError,
    UnsupportedMediaError,
    UsageError,
)
from librehps.media.images import load_pixels
from librehps.models import families
from librehps.models.base import Prepared, ProcessorOptions
from librehps.models.hpsv3 import backbone, rotary
from librehps.models.hpsv3.processor import HPSv3Processor
from librehps.models.hpsv3.resize import resize, resize_as_floats, target_size
from librehps.models.hpsv3.template import find_template
from librehps.models.hpsv3.tokens import CONTROLS
from librehps.rewards import DifferentiableReward
from librehps.types import BatchItem

GOLDEN = Path(__file__).parents[1] / "golden_hpsv3"
CHECKPOINT, MEDIA = GOLDEN / "checkpoint", GOLDEN / "media"
TOLERANCE = 5e-3
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture(scope="module")
def scorer() -> LibreHPS:
    """The golden checkpoint with the reference's way from files to pixels."""
    return LibreHPS.from_pretrained(
        CHECKPOINT, device="cpu", dtype="float32", background="keep", color_management=False
    )


@pytest.fixture(scope="module")
def processor() -> HPSv3Processor:
    return families.open_checkpoint(CHECKPOINT).processor(ProcessorOptions())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "copy"))


def prepared(processor: HPSv3Processor, case: dict) -> Prepared:
    pixels = load_pixels((MEDIA / case["image"]).read_bytes(), case["image"])
    return processor.prepare(pixels[None], "image", processor.encode(case["prompt"]))


def farthest(scorer: LibreHPS, cases: list[dict]) -> float:
    scores = [scorer.score_image(MEDIA / case["image"], case["prompt"]) for case in cases]
    pairs = zip(scores, cases, strict=True)
    return max(abs(score.overall.raw_mean - case["mu"]) for score, case in pairs)


def test_golden_scores(scorer: LibreHPS, expected: dict) -> None:
    assert len(expected["images"]) == 36
    mu = {}
    for case in expected["images"]:
        score = scorer.score_image(MEDIA / case["image"], case["prompt"])
        assert score.overall.raw_mean == pytest.approx(case["mu"], abs=TOLERANCE)
        assert score.overall.sigma == pytest.approx(case["sigma"], rel=2e-2)
        assert score.scalar is None
        mu[case["image"], case["prompt"]] = score.overall.raw_mean
    for pair in expected["pairs"]:
        a, b = (mu[pair[f"image_{side}"], pair["prompt"]] for side in "ab")
        assert ("a" if a > b else "b") == pair["winner"]


def test_golden_tokens(processor: HPSv3Processor, expected: dict) -> None:
    ids_of = dict(zip(expected["prompts"], expected["text_ids"], strict=True))
    for case in expected["images"]:
        item = prepared(processor, case)
        assert item.cost == case["reward_position"] + 1
        assert item.pixels.shape[-2:] == torch.Size(14 * n for n in case["grid_thw"][1:])
        first, count = int(item.vision[0]), len(item.vision)
        ids = [*item.ids.tolist()[:first], *item.ids.tolist()[first + count - 1 :]]
        assert ids == ids_of[case["prompt"]][: len(ids)]
        assert ids[-1] == expected["reward_token_id"]


def test_settings_are_those_foreseen(scorer: LibreHPS) -> None:
    as_reference = {"background": "keep", "color_management": False}
    foreseen = LibreHPS.foresee(CHECKPOINT, device="cpu", dtype="float32", **as_reference)
    assert foreseen == scorer.settings
    assert foreseen.axes == ("overall",)


def test_a_mixed_batch_scores_as_one_by_one(scorer: LibreHPS, expected: dict) -> None:
    cases = expected["images"][::5]
    items = [BatchItem(MEDIA / case["image"], case["prompt"]) for case in cases]
    for score, case in zip(scorer.score_images_batch(items, 8), cases, strict=True):
        alone = scorer.score_image(MEDIA / case["image"], case["prompt"])
        assert score.overall.raw_mean == pytest.approx(alone.overall.raw_mean, abs=2e-3)
        assert score.overall.raw_mean == pytest.approx(case["mu"], abs=TOLERANCE)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_backends_agree(expected: dict, attention: str) -> None:
    scorer = LibreHPS.from_pretrained(CHECKPOINT, attention, "float32", "cpu")
    assert scorer.settings.attention == attention
    assert farthest(scorer, expected["images"][:2]) < TOLERANCE


def test_bfloat16_keeps_the_head_in_float32(expected: dict) -> None:
    scorer = LibreHPS.from_pretrained(CHECKPOINT, dtype="bfloat16", device="cpu")
    assert farthest(scorer, expected["images"][:1]) < 0.5
    kinds = {n: p.dtype for n, p in scorer._model.network.named_parameters()}
    assert kinds["rm_head.5.weight"] == torch.float32
    assert kinds["model.language_model.norm.weight"] == torch.bfloat16


class TestMistakes:
    """Each is caught by the vectors: they would not pass with it."""

    def test_resize_by_torch(
        self, scorer: LibreHPS, expected: dict, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def by_torch(pixels: torch.Tensor, budget: int) -> torch.Tensor:
            size = target_size(*pixels.shape[-2:], budget)
            how = {"mode": "bicubic", "antialias": True}
            return torch.nn.functional.interpolate(pixels, size=size, **how)

        monkeypatch.setattr("librehps.models.hpsv3.processor.resize", by_torch)
        assert farthest(scorer, expected["images"]) > TOLERANCE

    def test_exact_frequencies(self, expected: dict, monkeypatch: pytest.MonkeyPatch) -> None:
        exact = lambda base, width: 1.0 / base ** (torch.arange(0, width, 2) / width)  # noqa: E731
        monkeypatch.setattr(backbone, "frequencies", exact)
        scorer = LibreHPS.from_pretrained(CHECKPOINT, device="cpu", dtype="float32")
        assert farthest(scorer, expected["images"][:4]) > TOLERANCE

    @pytest.mark.slow
    def test_vision_angles_in_float32(
        self, scorer: LibreHPS, expected: dict, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rotary._still_rotary.cache_clear()
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
        assert farthest(scorer, expected["images"]) > TOLERANCE
        rotary._still_rotary.cache_clear()

    def test_positions_of_the_grid(
        self, scorer: LibreHPS, expected: dict, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = HPSv3Processor.prepare

        def gridded(self: HPSv3Processor, pixels, *args, **how) -> Prepared:
            item = plain(self, pixels, *args, **how)
            positions, columns = item.positions.clone(), item.pixels.shape[-1] // 28
            at = torch.arange(len(item.vision))
            start = item.vision[0]
            positions[:, item.vision] = torch.stack(
                [start.expand(len(at)), start + at // columns, start + at % columns]
            )
            return Prepared(item.pixels, item.ids, positions, item.vision)

        monkeypatch.setattr(HPSv3Processor, "prepare", gridded)
        assert farthest(scorer, expected["images"][:4]) > TOLERANCE

    def test_other_words(self, copy: Path, scorer: LibreHPS, expected: dict) -> None:
        words = json.loads((copy / "prompt_template.json").read_text())
        words["after_image"] = words["after_image"].replace("picture", "image")
        (copy / "prompt_template.json").write_text(json.dumps(words))
        other = LibreHPS.from_pretrained(copy, device="cpu", dtype="float32")
        assert other.settings.layout != scorer.settings.layout
        assert other.settings.fingerprint == scorer.settings.fingerprint
        assert farthest(other, expected["images"][:4]) > TOLERANCE


@pytest.mark.parametrize("spelled", CONTROLS)
def test_a_control_token_in_a_prompt_stays_text(processor: HPSv3Processor, spelled: str) -> None:
    pixels = torch.zeros(1, 3, 56, 56, dtype=torch.uint8)
    plain = processor.prepare(pixels, "image", processor.encode("a cat"))
    item = processor.prepare(pixels, "image", processor.encode(f"a cat {spelled}{spelled}"))
    for token in processor.encoder._text.control.values():
        assert (item.ids == token).sum() == (plain.ids == token).sum()
    assert len(item.ids) > len(plain.ids)


@pytest.mark.parametrize("prompt", ["x", " x ", "\nx\n", "!", "'s", "7", "\u0301a", "x:\n\n"])
def test_a_prompt_is_tokenised_with_the_words_around_it(
    processor: HPSv3Processor, prompt: str
) -> None:
    from tokenizers import Tokenizer

    text = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    template = find_template(CHECKPOINT)
    words = template.after_image + prompt + template.after_prompt.split("<|Reward|>")[0]
    ids = text.encode(words, add_special_tokens=False).ids
    _, vision = processor.encoder.stream(1, [])
    stream, _ = processor.encoder.stream(1, processor.encode(prompt))
    assert stream.tolist()[int(vision[0]) + 1 : -1] == ids


def test_prompts_that_are_refused(processor: HPSv3Processor) -> None:
    for prompt in (None, "", " \n"):
        with pytest.raises(EmptyPromptError):
            processor.encode(prompt)
    short = families.open_checkpoint(CHECKPOINT).processor(ProcessorOptions(max_prompt_tokens=5))
    for prompt in ("a rather long prompt", "a bear " * 2_000_000):
        with pytest.raises(PromptTooLongError, match="5 tokens"):
            short.encode(prompt)


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((1024, 1024), (448, 448)),
        ((448, 448), (448, 448)),
        ((20, 20), (448, 448)),
        ((100, 12_000), (28, 4900)),
        ((1000, 10), (4480, 56)),
    ],
)
def test_target_sizes(size: tuple[int, int], target: tuple[int, int]) -> None:
    assert target_size(*size, 200_704) == target


def test_a_ratio_over_200_is_refused_also_after_the_resize() -> None:
    with pytest.raises(AspectRatioError, match="201:1"):
        target_size(10, 2010, 200_704)
    with pytest.raises(AspectRatioError, match="5712 x 28: unsupported aspect ratio"):
        target_size(43, 7000, 200_704)


def test_resize_on_floats_is_close() -> None:
    pixels = load_pixels((MEDIA / "wide.png").read_bytes(), "wide")[None]
    exact, close = resize(pixels, 200_704).int(), resize_as_floats(pixels, 200_704).int()
    assert (exact - close).abs().max() <= 2
    assert (exact != close).float().mean() < 0.05


def test_a_differentiable_reward(scorer: LibreHPS, expected: dict) -> None:
    """Values are those of a resize on floats: of all golden media at most 0.0067 from the exact."""
    reward = DifferentiableReward(scorer)
    for case in expected["images"][::12]:
        pixels = load_pixels((MEDIA / case["image"]).read_bytes(), case["image"]).float() / 255
        value = reward([pixels], [case["prompt"]]).item()
        assert value == pytest.approx(case["mu"], abs=0.01)
    image = torch.rand(1, 3, 448, 448, generator=torch.Generator().manual_seed(0))
    [value], gradient = scorer.reward_gradient(image, ["a dog"])
    better = image + 0.05 * gradient / gradient.norm()
    assert reward(better, ["a dog"]).item() > value.item() + 0.05
    with pytest.raises(UsageError, match="scores images only, got a video"):
        reward(image.expand(1, 2, 3, 448, 448), ["a dog"])
    with pytest.raises(UsageError, match="checkpointing: unsupported"):
        DifferentiableReward(scorer, checkpointing=True)


def test_a_clip_is_refused(scorer: LibreHPS) -> None:
    frame = torch.zeros(3, 64, 64)
    with pytest.raises(UnsupportedMediaError, match="the model scores images only, got a video"):
        scorer.score_video([frame, frame], "a cat")


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The golden checkpoint in `folder` with its tensors changed."""
    tensors = load_file(folder / "HPSv3.safetensors")
    save_file(change(tensors), folder / "HPSv3.safetensors")
    return folder


def renamed(tensors: Tensors) -> Tensors:
    """The spelling of `transformers` 5."""
    names = {
        name: f"model.{name}"
        if name.startswith("visual.")
        else name.replace("model.", "model.language_model.", 1)
        for name in tensors
    }
    return {names[name]: value for name, value in tensors.items() if name != "lm_head.weight"}


def test_the_other_spelling_in_shards(copy: Path, scorer: LibreHPS, expected: dict) -> None:
    tensors = renamed(load_file(copy / "HPSv3.safetensors"))
    (copy / "HPSv3.safetensors").unlink()
    names = sorted(tensors)
    index = {}
    for at, part in enumerate((names[::2], names[1::2])):
        save_file({name: tensors[name] for name in part}, copy / f"part-{at}.safetensors")
        index |= dict.fromkeys(part, f"part-{at}.safetensors")
    file = copy / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": index}))
    other = LibreHPS.from_pretrained(copy, device="cpu", dtype="float32")
    assert other.settings.fingerprint == scorer.settings.fingerprint
    assert other.settings.layout == scorer.settings.layout
    assert farthest(other, expected["images"][:1]) < TOLERANCE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: v for n, v in t.items() if "rm_head" not in n}, "no reward head"),
        (lambda t: t | {"model.extra.weight": torch.zeros(2)}, "model.language_model.extra.weight"),
        (lambda t: t | {"x.weight": torch.zeros(2)}, "unexpected 1: x.weight"),
        (lambda t: {n: v for n, v in t.items() if n != "visual.merger.ln_q.bias"}, "ln_q.bias"),
        (lambda t: t | {"rm_head.5.bias": torch.zeros(3)}, r"rm_head.5.bias is \(3,\)"),
        (
            lambda t: t | {"model.embed_tokens.weight": torch.zeros(480, 64)},
            "expected id 479",
        ),
        (
            lambda t: {n: v for n, v in t.items() if "embed_tokens" not in n},
            "embed_tokens",
        ),
        (lambda t: t | {"rm_head.5.bias": torch.zeros(2, dtype=torch.int8)}, "quantised"),
    ],
)
def test_foreign_tensors(copy: Path, change: Callable[[Tensors], Tensors], words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        LibreHPS.from_pretrained(rewrite(copy, change), device="cpu")
    import re

    assert re.search(words, f"{raised.value} {raised.value.hint}")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_torn_file_is_named(copy: Path, share: float) -> None:
    content = (CHECKPOINT / "HPSv3.safetensors").read_bytes()
    (copy / "HPSv3.safetensors").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"HPSv3.safetensors is damaged or truncated"):
        LibreHPS.from_pretrained(copy)


def test_pickles_are_not_opened(copy: Path) -> None:
    (copy / "HPSv3.safetensors").rename(copy / "final_model.pth")
    with pytest.raises(CheckpointError, match="pickled"):
        LibreHPS.from_pretrained(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_missing_files_are_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        LibreHPS.from_pretrained(copy)


def test_an_unknown_family_is_named(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"'llama'.*librehps, hpsv3"):
        families.family_of(copy)
    assert families.family_of(CHECKPOINT).name == "hpsv3"


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librehps.models.memory_need.free_memory", lambda device: 1000)
    with pytest.raises(MemoryShortError, match="are free"):
        LibreHPS.from_pretrained(CHECKPOINT, device="cpu")


SOURCE = '''
import nowhere  # never imported
INSTRUCTION = """
Rate {{it}}.
Text - {text_prompt}

"""
prompt_with_special_token = """
Rating: <|Reward|>
END
"""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Installs a package `hpsv3` of this source, which only importlib.metadata can see."""

    def install(source: str) -> Path:
        file = tmp_path / "site" / "hpsv3" / "dataset" / "data_collator_qwen.py"
        file.parent.mkdir(parents=True)
        file.write_text(source)
        info = tmp_path / "site" / "hpsv3-1.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hpsv3\nVersion: 1.0.0\n")
        found = PathDistribution(info)
        monkeypatch.setattr("librehps.models.hpsv3.template.distribution", lambda name: found)
        return file

    return install


def test_words_of_the_installed_package(package: Callable[[str], Path], tmp_path: Path) -> None:
    package(SOURCE)
    template = find_template(tmp_path)
    assert template.after_image == "<|vision_end|>\nRate {it}.\nText - "
    assert template.after_prompt.startswith("\n\n\nRating: <|Reward|>\nEND\n<|im_end|>")
    assert template.before_image.endswith("<|vision_start|>")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("INSTRUCTION =", "OTHER ="),
        ("{text_prompt}", ""),
        ("{text_prompt}", "{text_prompt}{text_prompt}"),
        ("{text_prompt}", "{other}"),
        ("<|Reward|>", ""),
        ("Rate", "<|Reward|>"),
        ("Rate", "<|image_pad|>"),
        ("{{it}}", "{"),
        ("import nowhere", "import"),
    ],
)
def test_a_package_with_other_words_is_refused(
    package: Callable[[str], Path], tmp_path: Path, old: str, new: str
) -> None:
    package(SOURCE.replace(old, new, 1))
    with pytest.raises(CheckpointError, match="data_collator_qwen") as raised:
        find_template(tmp_path)
    assert "pip install --no-deps hpsv3==1.0.0" in (raised.value.hint or "")


def test_no_words_anywhere(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("librehps.models.hpsv3.template.distribution", absent)
    (copy / "prompt_template.json").unlink()
    with pytest.raises(CheckpointError, match="prompt template of HPSv3 was not found") as raised:
        LibreHPS.from_pretrained(copy)
    assert "pip install --no-deps hpsv3==1.0.0" in (raised.value.hint or "")


@pytest.mark.parametrize("content", ["{}", '{"before_image": 1}', "[]", "no json"])
def test_a_broken_template_file(copy: Path, content: str) -> None:
    (copy / "prompt_template.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"prompt_template\.json"):
        LibreHPS.from_pretrained(copy)
