"""The choice of attention, on described machines: no GPU is at hand for the real ones."""

import logging

import pytest
import torch

from conftest import CHECKPOINT
from librehps import LibreHPS
from librehps.errors import AttentionError
from librehps.models.attention import FA2, FA4, Attention, Host, apply, candidates
from librehps.models.librehps.checkpoint import Checkpoint, build_model

BF16, FP32 = torch.bfloat16, torch.float32


def host(capability: tuple[int, int] | None, *installed: str, dtype=BF16, device="cuda") -> Host:
    return Host(device, dtype, capability, frozenset(installed))


CPU = host(None, device="cpu", dtype=FP32)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (host((10, 0), FA4, FA2), ["flash_attention_4", "flash_attention_2", "sdpa", "eager"]),
        (host((10, 0), FA2), ["flash_attention_2", "sdpa", "eager"]),
        (host((12, 0), FA4, FA2), ["flash_attention_2", "sdpa", "eager"]),
        (host((9, 0), FA4, FA2), ["flash_attention_2", "sdpa", "eager"]),
        (host((9, 0), FA4), ["sdpa", "eager"]),
        (host((7, 5), FA2), ["sdpa", "eager"]),
        (host((10, 0), FA4, FA2, dtype=FP32), ["sdpa", "eager"]),
        (host(None, FA4, FA2, device="mps", dtype=FP32), ["sdpa", "eager"]),
        (CPU, ["sdpa", "eager"]),
    ],
)
def test_auto(machine: Host, expected: list[str]) -> None:
    assert [choice.implementation for choice in candidates("auto", machine)] == expected


def test_auto_says_why_not_fa4(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("librehps"), "propagate", True)
    choices = candidates("auto", host((9, 0), FA4))
    assert "needs Blackwell" in caplog.text
    assert "found 9.0" in choices[0].reason
    assert f"{FA2} is not installed" in choices[0].reason


@pytest.mark.parametrize(
    ("request_", "machine", "words"),
    [
        ("fa4", host((9, 0), FA4), "Blackwell"),
        ("fa4", host((10, 0)), "not installed"),
        ("fa4", CPU, "needs CUDA"),
        ("fa2", host((10, 0), FA4), "not installed"),
        ("fa2", host((9, 0), FA2, dtype=FP32), "float32"),
        ("best", CPU, "attention: expected auto"),
    ],
)
def test_what_is_asked_and_cannot_be_is_an_error(request_: str, machine: Host, words: str) -> None:
    with pytest.raises(AttentionError, match=words):
        candidates(request_, machine)


def test_a_backend_that_fails_its_probe_is_dropped_with_the_reason() -> None:
    model = build_model(Checkpoint.open(CHECKPOINT), "sdpa", FP32, torch.device("cpu"))
    used: list[str] = []

    def probe() -> None:
        used.append(model.model.language_model.config._attn_implementation)
        if used[-1] == "sdpa":
            raise RuntimeError("head_dim 256 is not supported\nand more")

    choices = [Attention("sdpa", "auto"), Attention("eager", "auto")]
    chosen = apply(model.model, choices, probe)
    assert used == ["sdpa", "eager"]
    assert chosen.implementation == "eager"
    assert "head_dim 256 is not supported" in chosen.reason
    assert model.model.visual.config._attn_implementation == "eager"
    with pytest.raises(AttentionError, match="head_dim 256"):
        apply(model.model, choices[:1], probe)


def test_this_machine(golden: LibreHPS) -> None:
    if torch.cuda.is_available():
        pytest.skip("written for machines without CUDA")
    assert golden.settings.attention == "sdpa"
    with pytest.raises(AttentionError, match="needs CUDA"):
        LibreHPS.from_pretrained(CHECKPOINT, attn_impl="fa4")
