"""The forward: the last layer read at one token, and no wait for the device on the way."""

import json
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from conftest import CHECKPOINT, MEDIA
from librehps import Item, LibreHPS
from librehps.bench.random_model import fill
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.batch import collate
from librehps.models.librehps.checkpoint import empty_model


def batch_of(golden: LibreHPS) -> object:
    """Stills and a clip of several lengths in one padded batch."""
    names = ["small.png", "clip8.mp4", "small.png"]
    prompts = ["a", "a longer prompt than the others, " * 4, "two words"]
    decoder = golden.engine().decoder
    items = [Item(n, MEDIA / n, p) for n, p in zip(names, prompts, strict=True)]
    prepared = [decoder.decode(item).prepared for item in items]
    return collate(prepared, torch.device("cpu"), golden._model.embedding)


@pytest.mark.parametrize(
    "kinds", [["linear_attention", "full_attention"], ["full_attention", "linear_attention"]]
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_one_token_as_all_tokens(golden: LibreHPS, kinds: list[str], attention: str) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    layers = config["text_config"]["num_hidden_layers"]
    config["text_config"]["layer_types"] = kinds * (layers // 2)
    model: RewardModel = empty_model(config, attention)
    fill(model, torch.float32, torch.device("cpu"))
    batch = batch_of(golden)
    with torch.no_grad():
        hidden = model.hidden_states(batch, model.vision_tokens(batch))  # type: ignore[arg-type]
        whole = hidden[torch.arange(3), batch.last]  # type: ignore[attr-defined]
        read = model.reward_states(batch)  # type: ignore[arg-type]
    assert torch.allclose(read, whole, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(read[0], read[2], atol=1e-2)


@pytest.mark.slow
def test_no_forward_waits_for_its_device(golden: LibreHPS) -> None:
    """Fake tensors have no values: whatever asked for one, as a GPU would be waited for, fails."""
    model = golden.engine().model.network
    batch = batch_of(golden)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.inference_mode():
        state = {name: fake.from_tensor(p) for name, p in model.state_dict().items()}
        tensors = {
            name: fake.from_tensor(value)
            for name, value in vars(batch).items()
            if isinstance(value, torch.Tensor)
        }
        output = functional_call(model, state, (replace(batch, **tensors),))  # type: ignore[type-var]
    assert output.mu.shape == (3, 5)
