"""Our Qwen3.5 network and its config, held to those of `transformers`."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from conftest import CHECKPOINT, MEDIA
from librehps import Item, LibreHPS
from librehps.bench.configs import config_of
from librehps.errors import CheckpointError
from librehps.models.attention_kernels import attend
from librehps.models.librehps import vision_tower
from librehps.models.librehps.activations import gelu_tanh
from librehps.models.librehps.backbone import ModelInputs, RewardModel
from librehps.models.librehps.batch import collate
from librehps.models.librehps.checkpoint import Checkpoint, build_model, empty_model
from librehps.models.librehps.config import Rope, TextConfig, VisionConfig, read_config

STORED = json.loads((CHECKPOINT / "config.json").read_text())
# The same on both sides: an older checkpoint keeps rotary fields outside `rope_parameters`.
OLD_ROPE = {"rope_parameters": None, "rope_theta": 5e5, "partial_rotary_factor": 0.5}
TEXT_CHANGES: dict[str, dict[str, Any]] = {
    "old rope": OLD_ROPE,
    "rope_scaling": OLD_ROPE | {"rope_scaling": {"type": "default", "mrope_section": [2, 1, 1]}},
    "no rope": {"rope_parameters": None, "partial_rotary_factor": None},
    "intervals": {"layer_types": None, "full_attention_interval": 3, "num_hidden_layers": 7},
    "biases": {"attention_bias": True, "attention_dropout": 0.25, "rms_norm_eps": 1e-5},
}


def changed(part: str, **values: Any) -> dict[str, Any]:
    """The golden config.json with changed fields in one part; None leaves a field out."""
    config = deepcopy(STORED)
    kept = {**config[part], **values}
    config[part] = {name: value for name, value in kept.items() if value is not None}
    return config


def configs() -> dict[str, dict[str, Any]]:
    empty: dict[str, Any] = {"text_config": {}, "vision_config": {"out_hidden_size": 4096}}
    named = {"golden": STORED, "defaults": {"model_type": "qwen3_5", **empty}}
    named |= {name: config_of(name) for name in ("4b", "47m", "tiny")}
    named |= {name: changed("text_config", **values) for name, values in TEXT_CHANGES.items()}
    return named


@pytest.mark.parametrize("name", configs())
def test_every_field_is_read_as_by_transformers(name: str) -> None:
    from transformers import Qwen3_5Config

    stored = configs()[name]
    ours, theirs = read_config(stored), Qwen3_5Config.from_dict(deepcopy(stored))
    for kind, part in ((TextConfig, "text_config"), (VisionConfig, "vision_config")):
        mine, reference = getattr(ours, part), getattr(theirs, part)
        for field in fields(kind):
            if field.init:
                assert getattr(mine, field.name) == getattr(reference, field.name), field.name
    assert list(ours.text_config.layer_types) == theirs.text_config.layer_types
    rope = theirs.text_config.rope_parameters
    sections = tuple(rope.get("mrope_section", Rope.sections))
    expected = Rope(rope["rope_theta"], rope["partial_rotary_factor"], sections)
    assert ours.text_config.rope == expected


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("text_config", {"hidden_size": "wide"}, "hidden_size`: expected an integer above 0"),
        ("text_config", {"num_hidden_layers": 0}, "num_hidden_layers"),
        ("text_config", {"head_dim": True}, "head_dim"),
        ("text_config", {"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ("text_config", {"head_dim": 30}, "head_dim`: expected an even number of rotated"),
        ("text_config", {"attention_bias": 1}, "attention_bias`: expected true or false"),
        ("text_config", {"hidden_act": "prelu"}, "hidden_act`: expected silu or "),
        ("text_config", {"layer_types": ["linear_attention"]}, "layer_types`: expected 4 of"),
        ("text_config", {"layer_types": ["sliding"] * 4}, "layer_types"),
        ("text_config", {"layer_types": [["linear_attention"]] * 4}, "layer_types"),
        ("text_config", {"layer_types": None, "full_attention_interval": 0}, "interval"),
        ("text_config", {"num_key_value_heads": 3}, "multiple of num_key_value_heads, 3"),
        ("text_config", {"linear_num_key_heads": 3}, "multiple of linear_num_key_heads"),
        ("text_config", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type`: .*'default'"),
        ("text_config", {"rope_parameters": {"full_attention": {}}}, "one object for all"),
        ("text_config", {"rope_parameters": 3}, "one object for all"),
        ("text_config", {"rope_parameters": {"rope_theta": 0}}, "rope_theta"),
        ("text_config", {"rope_parameters": {"partial_rotary_factor": 2}}, "partial_rotary"),
        ("text_config", {"rope_parameters": {"mrope_section": [1, "a"]}}, "mrope_section"),
        ("vision_config", {"patch_size": 14}, "patch_size`: expected 16, got 14"),
        ("vision_config", {"out_hidden_size": 128}, "out_hidden_size`: expected 64"),
        ("vision_config", {"num_heads": 3}, "hidden_size`: expected 4 x n"),
        ("vision_config", {"rope_parameters": {"rope_type": "dynamic"}}, "expected 'axial'"),
    ],
)
def test_a_field_that_fits_no_model_is_named(part: str, values: dict, words: str) -> None:
    with pytest.raises(CheckpointError, match=rf"cannot build the model: `{part}.*{words}"):
        empty_model(changed(part, **values), "sdpa")


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
@pytest.mark.parametrize("value", [None, [], "small"])
def test_a_part_that_is_no_object_is_named(part: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"`{part}`: expected an object"):
        empty_model({**STORED, part: value}, "sdpa")


def batch_of(golden: LibreHPS, *prompts: str) -> ModelInputs:
    decoder = golden._decoder()
    items = [Item(prompt, MEDIA / "small.png", prompt) for prompt in prompts]
    return collate([decoder.decode(item).prepared for item in items], torch.device("cpu"))


class Uncached(torch.nn.Module):
    """Our linear attention, called with the arguments of `transformers`."""

    def __init__(self, own: torch.nn.Module) -> None:
        super().__init__()
        self.own = own

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.own(hidden_states)


def whole_network() -> RewardModel:
    """Our network of the golden checkpoint, its embedding a parameter."""
    return build_model(Checkpoint.open(CHECKPOINT), "sdpa", torch.float32, torch.device("cpu"))


@pytest.fixture(params=["sdpa", "eager"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[RewardModel, Any]]:
    """Our network of the golden checkpoint and that of `transformers`, with equal weights."""
    from transformers import AutoModel, Qwen3_5Config

    network = whole_network()
    config = Qwen3_5Config.from_dict(deepcopy(STORED))
    theirs = AutoModel.from_config(config, attn_implementation=request.param, dtype=torch.float32)
    theirs.load_state_dict(network.model.state_dict())
    layers = zip(network.model.language_model.layers, theirs.language_model.layers, strict=True)
    for ours_at, theirs_at in layers:
        if hasattr(ours_at, "linear_attn"):
            # Their delta rule rounds in another order; test_delta.py compares the two.
            theirs_at.linear_attn = Uncached(ours_at.linear_attn)
    network.model.set_attn_implementation(request.param)
    with torch.no_grad():
        yield network, theirs.eval()


def test_hidden_states_are_those_of_transformers(
    golden: LibreHPS, both: tuple[RewardModel, Any]
) -> None:
    network, theirs = both
    batch = batch_of(golden, "a red square", "another square")
    vision = network.vision_tokens(batch)
    reference = theirs.visual(batch.patches, grid_thw=torch.tensor(batch.grids)).pooler_output
    assert vision.std() > 1
    assert torch.allclose(vision, reference, atol=3e-5)
    text, embeds = network.model.language_model, torch.randn(*batch.input_ids.shape, 64)
    states = text(embeds, batch.position_ids)
    reference = theirs.language_model(
        inputs_embeds=embeds, position_ids=batch.position_ids, use_cache=False
    ).last_hidden_state
    assert states.std() > 0.5
    assert torch.allclose(states, reference, atol=3e-6)


def test_recomputed_activations_give_the_same_gradients(golden: LibreHPS) -> None:
    batch = batch_of(golden, "a", "a longer prompt than the first")
    gradients = []
    for recompute in (False, True):
        network = whole_network().train().requires_grad_(True)
        if recompute:
            network.model.recompute_activations()
        network.reward_states(batch).square().sum().backward()
        found = {name: p.grad for name, p in network.model.named_parameters()}
        assert all(grad is not None for grad in found.values())
        gradients.append(found)
    plain, recomputed = gradients
    for name, gradient in plain.items():
        assert torch.equal(gradient, recomputed[name]), name


def test_flash_attention_is_that_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function in the package's place: it takes heads unrepeated, and gives them last."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def flash(layer: Any, query: Any, key: Any, value: Any, **how: Any) -> tuple[Any, None]:
        assert how["attention_mask"] is None and how["is_causal"] and how["cu_seq_lens_q"] == 5
        return attend_sdpa(layer, query, key, value), None

    def attend_sdpa(*parts: Any) -> torch.Tensor:
        layer.config._attn_implementation = "sdpa"
        return attend(*parts)

    layer = empty_model(STORED, "sdpa").model.language_model.layers[3].self_attn
    query, key, value = torch.randn(1, 4, 9, 32), *torch.randn(2, 1, 2, 9, 32)
    expected = attend(layer, query, key, value)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", flash)
    layer.config._attn_implementation = "flash_attention_2"
    assert torch.equal(attend(layer, query, key, value, cu_seq_lens_q=5), expected)


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_4"])
def test_no_flash_kernel_is_downloaded(
    golden: LibreHPS, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import import_utils

    number = name[-1]
    monkeypatch.setattr(
        import_utils, f"is_flash_attn_{number}_available", lambda: False, raising=False
    )
    with pytest.raises(ImportError, match=f"no package for {name}"):
        golden._model.network.model.set_attn_implementation(name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("causal", [False, True])
def test_sdpa_and_plain_products_agree(causal: bool) -> None:
    from librehps.models.attention_kernels import eager, sdpa

    query, key, value = torch.randn(2, 4, 9, 8), *torch.randn(2, 2, 2, 9, 8)
    seen = None if causal else torch.rand(2, 1, 9, 9) < 0.7
    pair = [f(query, key, value, 0.3, mask=seen, causal=causal) for f in (sdpa, eager)]
    assert torch.allclose(*pair, atol=1e-6)


def test_patches_in_parts_give_the_same_vision_tokens(
    golden: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = golden._model.network.model.visual
    grids = [(1, 4, 6), (3, 4, 4), (1, 2, 2)]
    count = sum(steps * rows * columns for steps, rows, columns in grids)
    patches = torch.randn(count, 1536, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = tower._tokens(patches, grids)
        for limit in (1, 20, 40, 1024):
            monkeypatch.setattr(vision_tower, "CPU_PATCHES", limit)
            torch.testing.assert_close(tower(patches, grids), whole, rtol=0, atol=2e-5)


def test_gelu_of_the_cpu_is_that_of_torch() -> None:
    values = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([-1e30, -1e5, 0.0, 1e5, 1e30])])
    with torch.inference_mode():
        ours = gelu_tanh(values)
    assert torch.allclose(ours, F.gelu(values, approximate="tanh"), rtol=1e-6, atol=1e-6)
