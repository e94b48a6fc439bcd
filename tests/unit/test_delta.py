"""The gated delta rule, held to its definition and to `transformers`."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import CHECKPOINT
from librehps.models.librehps.config import read_config
from librehps.models.librehps.gated_delta_net import (
    GatedDeltaNet,
    chunked_delta_rule,
    shifted_conv,
    unit_lower_inverse,
)


def recurrence(query: Tensor, key: Tensor, value: Tensor, decay: Tensor, beta: Tensor) -> Tensor:
    """Return the result of the plain recurrence, step by step, in float64."""
    query, key, value, decay, beta = (x.double() for x in (query, key, value, decay, beta))
    repeat = value.shape[2] // key.shape[2]
    query, key = (F.normalize(x, dim=-1).repeat_interleave(repeat, 2) for x in (query, key))
    query = query * query.shape[-1] ** -0.5
    state = value.new_zeros(*value.shape[::2], key.shape[-1], value.shape[-1])
    reads = []
    for t in range(value.shape[1]):
        state = state * decay[:, t, :, None, None].exp()
        seen = (key[:, t, :, None] @ state).squeeze(-2)
        change = beta[:, t, :, None] * (value[:, t] - seen)
        state = state + key[:, t, :, :, None] * change[:, :, None]
        reads.append((query[:, t, :, None] @ state).squeeze(-2))
    return torch.stack(reads, 1)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("alike", [False, True])
def test_chunks_agree_with_the_recurrence(length: int, alike: bool) -> None:
    torch.manual_seed(length)
    query, key = torch.randn(2, 2, length, 2, 16).unbind()
    if alike:
        # Nearly the same key at every step is where a series for the inverse would fail.
        key = key[:, :1] + 1e-3 * key
    value = torch.randn(2, length, 4, 8)
    decay = -torch.rand(2, length, 4) * (1e-3 if alike else 1)
    beta = torch.rand(2, length, 4)
    ours = chunked_delta_rule(query, key, value, decay, beta)
    assert torch.allclose(ours.double(), recurrence(query, key, value, decay, beta), atol=2e-5)


def test_the_inverse() -> None:
    torch.manual_seed(0)
    strict = torch.randn(3, 64, 64, dtype=torch.float64).tril(-1) * 0.3
    eye = torch.eye(64, dtype=torch.float64)
    product = unit_lower_inverse(strict) @ (strict + eye)
    assert torch.allclose(product, eye.expand_as(product), atol=1e-6)


def test_the_convolution() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(2, 9, 6), torch.randn(6, 4)
    padded = F.pad(hidden.transpose(1, 2), (3, 0))
    reference = F.conv1d(padded, weight[:, None], groups=6).transpose(1, 2)
    assert torch.allclose(shifted_conv(hidden, weight), reference, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["silu", "gelu_pytorch_tanh"])
def test_the_layer_agrees_with_transformers(activation: str) -> None:
    from transformers import Qwen3_5Config
    from transformers.models.qwen3_5 import modeling_qwen3_5 as modeling

    if activation != "silu" and getattr(modeling, "causal_conv1d_fn", None) is None:
        pytest.skip("the plain convolution of an older transformers is always followed by silu")
    stored = json.loads((CHECKPOINT / "config.json").read_text())
    stored["text_config"]["hidden_act"] = activation
    text = read_config(stored).text_config
    torch.manual_seed(0)
    theirs = modeling.Qwen3_5GatedDeltaNet(Qwen3_5Config.from_dict(stored).text_config, 0).float()
    ours = GatedDeltaNet(text)
    ours.load_state_dict(theirs.state_dict())
    hidden = torch.randn(2, 130, text.hidden_size)
    with torch.no_grad():
        assert torch.allclose(ours(hidden), theirs(hidden), atol=2e-5)
