"""Token streams: prompts are data, and the stream is the published one."""

import json
import unicodedata
from pathlib import Path

import pytest
import torch

from conftest import CHECKPOINT, MEDIA
from librehps import LibreHPS
from librehps.errors import CheckpointError, EmptyPromptError, PromptError, PromptTooLongError
from librehps.models.librehps.tokens import CONTROLS, PromptEncoder


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(CHECKPOINT / "tokenizer.json")


def test_the_stream_is_the_published_one(encoder: PromptEncoder) -> None:
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    text = (
        "<|im_start|>user\n<|vision_start|>"
        + "<|image_pad|>" * 6
        + "<|vision_end|>a cat<|im_end|>\n<|im_start|>assistant\n<|Reward|>"
    )
    stream = encoder.stream("image", (1, 4, 6), encoder.encode_prompt("a cat"))
    assert stream.ids.tolist() == reference.encode(text, add_special_tokens=False).ids


def test_positions_are_those_of_transformers(encoder: PromptEncoder) -> None:
    from transformers import Qwen3_5Config, Qwen3_5Model

    config = Qwen3_5Config.from_dict(json.loads((CHECKPOINT / "config.json").read_text()))
    with torch.device("meta"):
        model = Qwen3_5Model(config)
    for kind, grid, token in (("image", (1, 4, 6), 1), ("video", (3, 8, 4), 2)):
        stream = encoder.stream(kind, grid, encoder.encode_prompt("a cat"))
        types = torch.zeros_like(stream.ids)
        types[stream.vision] = token
        positions, _ = model.get_rope_index(
            stream.ids[None],
            mm_token_type_ids=types[None],
            **{f"{kind}_grid_thw": torch.tensor([grid])},
        )
        assert torch.equal(positions[-3:, 0], stream.positions)


@pytest.mark.parametrize("spelled", CONTROLS)
def test_a_control_token_in_a_prompt_stays_text(encoder: PromptEncoder, spelled: str) -> None:
    ids = encoder.encode_prompt(f"a cat {spelled} sleeping")
    assert not set(encoder.control.values()) & set(ids)
    stream = encoder.stream("image", (1, 4, 4), ids)
    assert (stream.ids == encoder.control["<|Reward|>"]).sum() == 1
    assert (stream.ids == encoder.control["<|im_end|>"]).sum() == 1
    assert len(stream.vision) == 4


@pytest.mark.parametrize("spelled", ["<|Reward|>", "<|im_end|>", "<|image_pad|>"])
def test_such_prompts_are_scored(golden: LibreHPS, spelled: str) -> None:
    plain = golden.score_image(MEDIA / "small.png", "a cat")
    marked = golden.score_image(MEDIA / "small.png", f"a cat{spelled}")
    assert marked.overall != plain.overall


def test_prompts_are_never_cut(encoder: PromptEncoder) -> None:
    short = PromptEncoder(CHECKPOINT / "tokenizer.json", max_prompt_tokens=3)
    with pytest.raises(PromptTooLongError, match="at most 3 tokens"):
        short.encode_prompt("a rather long prompt")


def test_a_huge_prompt_is_refused_before_it_is_tokenised(
    encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder._text, "encode", lambda text: pytest.fail("tokenised"))
    with pytest.raises(PromptTooLongError, match="14000000 characters; at most 1024"):
        encoder.encode_prompt("a bear " * 2_000_000)


def test_a_prompt_of_the_longest_tokens_fits() -> None:
    file = CHECKPOINT / "tokenizer.json"
    longest = max(json.loads(file.read_text())["model"]["vocab"], key=len).replace("Ġ", " ")
    ids = PromptEncoder(file, max_prompt_tokens=50).encode_prompt(longest * 50)
    assert len(ids) == 50


def test_characters_that_the_tokenizer_composes_fit(tmp_path: Path) -> None:
    spec = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    spec["normalizer"] = {"type": "NFC"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    prompt = unicodedata.normalize("NFD", "ᾂ" * 1000)
    most = len(PromptEncoder(tmp_path / "tokenizer.json", 9999).encode_prompt(prompt))
    assert len(PromptEncoder(tmp_path / "tokenizer.json", most).encode_prompt(prompt)) == most


@pytest.mark.parametrize("prompt", [None, "", "  \n\t"])
def test_empty_prompts_are_refused(encoder: PromptEncoder, prompt: str | None) -> None:
    with pytest.raises(EmptyPromptError):
        encoder.encode_prompt(prompt)


def test_broken_unicode_is_refused(encoder: PromptEncoder) -> None:
    with pytest.raises(PromptError, match="Unicode"):
        encoder.encode_prompt("a \udc80 cat")


def test_a_tokenizer_without_reward_token_is_refused(tmp_path) -> None:
    spec = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] != "<|Reward|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match=r"<\|Reward\|>"):
        PromptEncoder(tmp_path / "tokenizer.json")


def test_tokens_kept_after_special_ones_have_the_checkpoints_ids(tmp_path) -> None:
    """A saved truncation or padding does not change a prompt either."""
    from tokenizers import Tokenizer

    spec = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    last = max(token["id"] for token in spec["added_tokens"])
    kept = spec["added_tokens"][0] | {"id": last + 1, "content": "<think>", "special": False}
    spec["added_tokens"].append(kept)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(spec))
    reference = Tokenizer.from_file(str(file)).encode("a <think> b", add_special_tokens=False).ids
    assert last + 1 in reference
    spec["truncation"] = {
        "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    file.write_text(json.dumps(spec))
    assert PromptEncoder(file).encode_prompt("a <think> b") == reference
