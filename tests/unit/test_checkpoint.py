"""Reading checkpoints: real small ones in the published layout, whole and broken."""

import itertools
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints import Tensors, rewrite
from conftest import CHECKPOINT, MEDIA
from librehps import LibreHPS
from librehps.errors import CheckpointError, MemoryShortError
from librehps.models import weights
from librehps.models.librehps.checkpoint import Checkpoint, build_model, fingerprint


def build(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return build_model(Checkpoint.open(folder), "sdpa", dtype, torch.device("cpu"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "copy"))


def test_every_tensor_is_read_as_stored() -> None:
    model = build(CHECKPOINT)
    stored = {}
    for shard in CHECKPOINT.glob("*.safetensors"):
        stored |= load_file(shard)
    parameters = dict(model.named_parameters())
    # The golden checkpoint has the vision tower where transformers 5.5.4 writes it.
    stored = {n.replace("language_model.visual.", "visual."): t for n, t in stored.items()}
    assert set(stored) - {"lm_head.weight"} == set(parameters)
    for name, parameter in parameters.items():
        assert torch.equal(parameter, stored[name].float()), name
    assert not any(p.is_meta for p in [*model.parameters(), *model.buffers()])


def test_heads_stay_float32_in_bfloat16() -> None:
    kinds = {n: p.dtype for n, p in build(CHECKPOINT, torch.bfloat16).named_parameters()}
    assert kinds["multi_axis_head.proj.0.weight"] == torch.float32
    assert kinds["scalar_head.proj.weight"] == torch.float32
    assert kinds["model.visual.patch_embed.proj.weight"] == torch.bfloat16


def test_variants_of_names_are_mapped(tmp_path: Path, golden: LibreHPS) -> None:
    def change(tensors: Tensors) -> Tensors:
        moved = {n.replace("language_model.visual.", "visual."): t for n, t in tensors.items()}
        assert set(moved) != set(tensors)
        moved["model.language_model.embed_tokens__weight__special_reward_row"] = torch.zeros(64)
        return moved

    model = LibreHPS.from_pretrained(rewrite(tmp_path / "x", change))
    assert model.settings.fingerprint == golden.settings.fingerprint
    score = model.score_image(MEDIA / "small.png", "x")
    assert score == golden.score_image(MEDIA / "small.png", "x")


@pytest.mark.slow
def test_what_transformers_itself_saves_loads(tmp_path: Path) -> None:
    """A backbone saved by `save_pretrained` loads, with our heads in a second shard."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    config = Qwen3_5Config.from_dict(json.loads((CHECKPOINT / "config.json").read_text()))
    torch.manual_seed(0)
    stock = Qwen3_5ForConditionalGeneration(config)
    folder = tmp_path / "stock"
    stock.save_pretrained(folder)
    shutil.copy(CHECKPOINT / "tokenizer.json", folder)
    with pytest.raises(CheckpointError, match="multi_axis_head") as raised:
        build(folder)
    assert "no reward heads" in (raised.value.hint or "")
    golden_heads = {}
    for shard in CHECKPOINT.glob("*.safetensors"):
        golden_heads |= {n: t for n, t in load_file(shard).items() if "_head." in n}
    save_file(golden_heads, folder / "heads.safetensors")
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    model = build(folder)
    embed = stock.model.language_model.embed_tokens.weight
    assert torch.equal(model.model.language_model.embed_tokens.weight, embed)


def test_settings_are_those_foreseen(golden: LibreHPS) -> None:
    as_reference = {"background": "keep", "color_management": False}
    foreseen = LibreHPS.foresee(CHECKPOINT, device="cpu", dtype="float32", **as_reference)
    assert foreseen == golden.settings


def test_a_fingerprint_is_interrupted_at_any_call() -> None:
    found = weights.find_tensors(CHECKPOINT.glob("*.safetensors"), str)
    tensors = dict(list(found.items())[:3])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    calls, last = itertools.count(), 0

    def interrupt(_: FrameType, event: str, __: object) -> None:
        if event == "call" and next(calls) == last:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    try:
        while True:
            sys.setprofile(interrupt)
            try:
                weights.fingerprint(tensors)
                break
            except KeyboardInterrupt:
                calls, last = itertools.count(), last + 1
            finally:
                sys.setprofile(None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert last > 10


def test_shards_and_dtypes_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    one = rewrite(tmp_path / "x", lambda t: {n: v.float() for n, v in t.items()})
    assert fingerprint(Checkpoint.open(one)) == fingerprint(Checkpoint.open(CHECKPOINT))
    name = "scalar_head.proj.weight"
    other = rewrite(tmp_path / "y", lambda t: t | {name: t[name] + 1})
    assert fingerprint(Checkpoint.open(other)) != fingerprint(Checkpoint.open(CHECKPOINT))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: v for n, v in t.items() if "_head." not in n}, "no reward heads"),
        (lambda t: t | {"model.extra.weight": torch.zeros(2)}, "model.extra.weight"),
        (
            lambda t: {n: v for n, v in t.items() if n != "model.language_model.norm.weight"},
            "model.language_model.norm.weight",
        ),
        (lambda t: t | {"scalar_head.proj.weight": torch.zeros(1, 7)}, r"\(1, 7\)"),
        (
            lambda t: t | {"model.language_model.layers.0.mlp.experts.gate": torch.zeros(2)},
            "mixture-of-experts",
        ),
        (
            lambda t: t | {"scalar_head.proj.weight": torch.zeros(1, 64, dtype=torch.int8)},
            "quantised",
        ),
    ],
)
def test_foreign_tensors_are_errors(
    tmp_path: Path, change: Callable[[Tensors], Tensors], words: str
) -> None:
    folder = rewrite(tmp_path / "x", change)
    with pytest.raises(CheckpointError) as raised:
        build(folder)
    import re

    assert re.search(words, f"{raised.value} {raised.value.hint}")


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00004") as raised:
        build(copy)
    assert "incomplete" in (raised.value.hint or "")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_cut_shard_is_named(copy: Path, share: float) -> None:
    shard = copy / "model-00001-of-00004.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00004\S* is damaged or truncated"):
        build(copy)


def test_a_garbled_shard_is_named(copy: Path) -> None:
    shard = copy / "model-00003-of-00004.safetensors"
    content = bytearray(shard.read_bytes())
    content[8:200] = bytes(192)
    shard.write_bytes(content)
    with pytest.raises(CheckpointError, match="model-00003-of-00004"):
        build(copy)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    folder = rewrite(tmp_path / "x", lambda t: t)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled"):
        build(folder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "qwen3_5_moe"}, "mixture-of-experts"),
        ({"model_type": "llama"}, "llama"),
        ([], "JSON object"),
    ],
)
def test_foreign_configs(copy: Path, config: object, words: str) -> None:
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words):
        build(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text_config": {"hidden_size": "wide"}}, "cannot build the model"),
        ({"text_config": {"layer_types": ["linear_attention"]}}, "cannot build the model"),
        ({"librehps": 3}, "`librehps` is not an object"),
    ],
)
def test_configs_that_describe_nothing(copy: Path, change: dict, words: str) -> None:
    config = json.loads((copy / "config.json").read_text())
    for name, value in change.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words):
        LibreHPS.from_pretrained(copy)


def test_an_index_cannot_point_elsewhere(copy: Path) -> None:
    index = copy / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('"model-00001', '"../model-00001'))
    with pytest.raises(CheckpointError, match="paths outside its folder"):
        build(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_missing_files_are_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        LibreHPS.from_pretrained(copy)


def test_too_little_memory_is_an_error_before_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("librehps.models.memory_need.free_memory", lambda device: 1000)
    with pytest.raises(MemoryShortError, match="are free") as raised:
        LibreHPS.from_pretrained(CHECKPOINT)
    assert "bfloat16" in (raised.value.hint or "")
