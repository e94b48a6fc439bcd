"""The kernels of Triton, run by Triton's interpreter on the CPU, beside the plain operations."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from librehps import LibreHPS
from librehps.errors import MemoryShortError, ModelError, UsageError
from librehps.models import vision
from librehps.models.base import RawScore
from librehps.models.kernels import check, choice
from librehps.models.librehps import family
from librehps.models.librehps import gated_delta_net as delta
from librehps.models.librehps.backbone import RewardModel
from librehps.models.librehps.rotary import rotate_text
from librehps.models.librehps.text import RMSNorm

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is made for Linux")
CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16)


@pytest.fixture(autouse=True)
def without_gradient() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def kernels_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models that are loaded to score on the CPU try the kernels."""
    monkeypatch.setattr(choice, "_obstacle", lambda device: None)
    monkeypatch.setattr(choice, "_failures", {})


def norm_of(kind: type, size: int, dtype: torch.dtype) -> Any:
    norm = kind(size, 1e-6).to(dtype)
    norm.weight.copy_(torch.randn(size))
    return norm


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_is_equal_to_the_plain_operations(dtype: torch.dtype) -> None:
    from librehps.models.kernels import elementwise as fused

    torch.manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape).to(dtype)

    def close(ours: Tensor, plain: Tensor) -> None:
        assert ours.dtype == plain.dtype and ours.shape == plain.shape
        bound = 1e-6 if ours.dtype == torch.float32 else 2e-3
        assert torch.allclose(ours, plain, rtol=bound, atol=bound)

    x, norm = random(3, 5, 48), norm_of(RMSNorm, 48, dtype)
    close(fused.rms_norm(x, norm.weight, norm.eps), norm(x))
    x, gate, gated = (
        random(2, 3, 3, 24),
        random(2, 3, 3, 24),
        norm_of(delta.GatedRMSNorm, 24, dtype),
    )
    close(fused.gated_rms_norm(x, gate, gated.weight, gated.eps), gated(x, gate))
    # Half of each head is the gate, so that heads are not next to each other.
    x, norm = random(2, 5, 3, 64)[..., :32], norm_of(RMSNorm, 32, dtype)
    turn = (random(2, 5, 4), random(2, 5, 4))
    plain = rotate_text(norm(x).transpose(1, 2), *turn)
    close(fused.normed_and_rotated(x, norm.weight, norm.eps, *turn), plain)
    x, angles = random(7, 9, 24)[:, :6], torch.rand(7, 12)
    close(
        fused.rotated(x, angles.cos(), angles.sin()), vision.rotate(x, angles.cos(), angles.sin())
    )
    x = random(7, 24, 6).transpose(1, 2)
    close(
        fused.rotated(x, angles.cos(), angles.sin()), vision.rotate(x, angles.cos(), angles.sin())
    )
    twice = angles.repeat(1, 2)
    close(fused.rotated(x, twice.cos(), twice.sin()), vision.rotate(x, twice.cos(), twice.sin()))
    gate, up = random(5, 70), random(5, 70)
    plain = up * F.silu(gate)
    close(fused.silu_product(gate.T, up.T).T, plain)
    x, taps = random(2, 21, 200), random(200, 4)
    close(fused.silu_conv(x, taps), F.silu(delta.shifted_conv(x.float(), taps.float()).to(dtype)))
    step, strength, rate, bias = 20 * random(2, 5, 4), random(2, 5, 4), random(4), random(4)
    decay, beta = fused.decay_and_beta(step, strength, rate, bias)
    close(decay, -rate.float().exp() * F.softplus(step.float() + bias.float()))
    close(beta, strength.sigmoid())


@pytest.mark.parametrize(
    ("length", "key_heads", "heads", "key_width", "width", "alike"),
    [(130, 1, 2, 16, 8, False), (64, 1, 1, 32, 72, True), (1, 1, 1, 24, 16, False)],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_delta_rule(
    dtype: torch.dtype,
    length: int,
    key_heads: int,
    heads: int,
    key_width: int,
    width: int,
    alike: bool,
) -> None:
    from librehps.models.kernels.delta_rule import delta_rule

    torch.manual_seed(length)
    sizes = [key_heads * key_width, key_heads * key_width, heads * width]
    # Parts of one tensor, as a layer has them.
    query, key, value = torch.randn(2, length, sum(sizes)).to(dtype).split(sizes, -1)
    query, key = (x.unflatten(-1, (key_heads, key_width)) for x in (query, key))
    value = value.unflatten(-1, (heads, width))
    decay = -torch.rand(2, length, heads)
    if alike:
        # Nearly the same key at every step is where a series for the inverse would fail.
        key, decay = key[:, :1] + 1e-2 * key, 1e-3 * decay
    beta = torch.rand(2, length, heads).to(dtype)
    ours = delta_rule(query, key, value, decay, beta)
    plain = delta.chunked_delta_rule(query, key, value, decay, beta)
    assert ours.dtype == dtype and ours.shape == plain.shape
    bound = 2e-5 if dtype == torch.float32 else 2e-3
    assert torch.allclose(ours, plain, rtol=bound, atol=bound)


def test_the_delta_rule_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter

    from librehps.models.kernels.delta_rule import delta_rule

    def values(handle: Any) -> Any:
        # Triton's interpreter holds bfloat16 as its bits, and would multiply these.
        is_bits = handle.data.dtype == np.uint16
        return (handle.data.astype(np.uint32) << 16).view(np.float32) if is_bits else handle.data

    def product(self: Any, a: Any, b: Any, total: Any, *_: Any) -> Any:
        found = values(a) @ values(b) + total.data
        return interpreter.TensorHandle(found, total.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", product)
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 200, 1, 32).bfloat16()
    value, beta = torch.randn(1, 200, 1, 16).bfloat16(), torch.full((1, 200, 1), 0.5).bfloat16()
    decay = torch.full((1, 200, 1), -1e-3)
    ours = delta_rule(query, key, value, decay, beta)
    wide = (x.float() for x in (query, key, value, decay, beta))
    plain = delta.chunked_delta_rule(*wide)
    assert ours.dtype == torch.bfloat16
    # The interpreter rounds to bfloat16 by cutting off 16 bits: at most 2 ** -7 of a value.
    assert torch.allclose(ours.float(), plain, rtol=2**-7, atol=5e-4)


@pytest.mark.parametrize("activation", [F.silu, F.gelu])
def test_the_layers_run_on_them(
    activation: Any, golden: LibreHPS, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = golden._model.network.model
    config, text = model.visual.config, model.language_model
    hidden, patches = torch.randn(1, 4, text.config.hidden_size), torch.randn(4, config.hidden_size)
    rotary = text._rotary(hidden, torch.arange(4).expand(3, 1, 4))
    angles = torch.rand(4, config.hidden_size // config.num_heads // 2)
    turn = (angles.cos(), angles.sin())
    kinds = {hasattr(layer, "self_attn"): layer for layer in text.layers}
    for part in (*(layer.mlp for layer in kinds.values()), kinds[False].linear_attn):
        # The kernels know silu alone.
        monkeypatch.setattr(part, "activation", activation)

    def outputs() -> list[Tensor]:
        texts = [layer(hidden, rotary) for layer in kinds.values()]
        return [*texts, model.visual.blocks[0](patches, torch.tensor([0, 4]), turn, [4])]

    plain = outputs()
    with choice.on_kernels(), ThreadPoolExecutor(1) as others:
        ours = outputs()
        # A model that scores in another thread rounds as before.
        assert others.submit(choice.current_kernels).result() is None
    assert len(ours) == 3
    for a, b in zip(ours, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-4) and not torch.equal(a, b)


@pytest.mark.usefixtures("kernels_on_cpu")
@pytest.mark.parametrize(
    "fault", ["raises", "too large", "no headers", "no Triton", "is wrong", "is no number"]
)
def test_kernels_that_fail_their_first_forward_are_not_used(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from triton.runtime.errors import OutOfResources

    from librehps.models.kernels import elementwise

    def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        if fault == "raises":
            raise RuntimeError("out of resource: shared memory")
        if fault == "too large":
            raise OutOfResources(232448, 101376, "shared memory")
        if fault == "no headers":
            raise CalledProcessError(1, ["/usr/bin/gcc", "cuda_utils.c"])
        if fault == "no Triton":
            raise ImportError("libtriton.so: cannot open shared object file")
        return x * (weight + 2 if fault == "is wrong" else torch.nan)

    norm, x = norm_of(RMSNorm, 8, torch.float32), torch.randn(2, 8)

    def forward() -> list[RawScore]:
        return [RawScore(tuple(row), (), None) for row in norm(x).tolist()]

    assert check.fit_kernels(CPU, torch.float32, forward) == ("triton", "auto: CUDA with Triton")
    monkeypatch.setattr(elementwise, "rms_norm", rms_norm)
    name, why = check.fit_kernels(CPU, torch.float32, forward)
    assert name == "torch"
    expected = {
        "raises": "out of resource: shared memory",
        "too large": "out of resource: shared memory, Required: 232448",
        "no headers": "gcc failed, which needs Python.h (Debian: python3-dev)",
        "no Triton": "libtriton.so: cannot open",
        "is wrong": "they move mu by",
        "is no number": "nan",
    }
    assert expected[fault] in why and expected[fault] in caplog.text
    assert choice.kernel_obstacle(CPU) in why


def test_a_model_keeps_its_kernels_when_those_of_the_next_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, seen = iter([("triton", "works"), ("torch", "fails")]), []

    def states(self: RewardModel, batch: Any) -> Tensor:
        seen.append(choice.current_kernels() is not None)
        return torch.zeros(1, self.scalar_head.proj.in_features)

    monkeypatch.setattr(family, "fit_kernels", lambda *_: next(found))
    one, two = (LibreHPS.from_pretrained("tiny") for _ in range(2))
    assert (one.settings.delta_rule, two.settings.delta_rule) == ("triton", "torch")
    monkeypatch.setattr(RewardModel, "reward_states", states)
    for scorer in (one, two, one):
        scorer._model.network(None)
    assert seen == [True, False, True] and choice.current_kernels() is None


@pytest.mark.usefixtures("kernels_on_cpu")
@pytest.mark.parametrize("plain_forwards", [0, 1])
def test_a_full_device_is_no_failure_of_the_kernels(plain_forwards: int) -> None:
    left = [plain_forwards]

    def forward() -> list[RawScore]:
        if left == [0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        left[0] -= 1
        return [RawScore((0.0,), (), None)]

    with pytest.raises(MemoryShortError, match="not enough memory on cpu for a first forward"):
        check.fit_kernels(CPU, torch.float32, forward)
    assert choice.kernel_obstacle(CPU) is None


def test_a_line_says_why_a_gpu_is_slower(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "_obstacle", lambda device: "no C compiler found (gcc)")

    def fit(name: str) -> tuple[str, str]:
        return check.fit_kernels(torch.device(name), torch.float32, list)

    why = "auto: no kernels of Triton: no C compiler found (gcc)"
    assert fit("cpu") == ("torch", why) and not caplog.records
    assert fit("cuda:1") == ("torch", why)
    line = "scoring on cuda:1 is slower, without the kernels of Triton: no C compiler found (gcc)"
    assert caplog.messages == [line]
    monkeypatch.setenv("LIBREHPS_KERNELS", "torch")
    assert fit("cuda:1") == ("torch", why) and len(caplog.records) == 1


def test_a_device_that_works_no_more_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(choice, "_obstacle", lambda device: None)
    calls = iter([lambda: [], ended])
    monkeypatch.setattr(check.torch, "zeros", ended)
    with pytest.raises(ModelError, match="failed on cpu, and ended its work") as raised:
        check.fit_kernels(CPU, torch.float32, lambda: next(calls)())
    assert "LIBREHPS_KERNELS=torch" in raised.value.hint


def test_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    obstacle = choice._obstacle.__wrapped__
    cuda = torch.device("cuda", 0)
    capability = [(9, 0)]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[0])
    monkeypatch.setenv("CC", "/bin/true")
    assert obstacle(CPU) == "they need CUDA" and obstacle(cuda) is None
    with monkeypatch.context() as amd:
        amd.setattr(torch.version, "hip", "6.4")
        assert obstacle(cuda) == "they need CUDA"
    monkeypatch.setenv("LIBREHPS_KERNELS", "torch")
    assert obstacle(cuda) == "LIBREHPS_KERNELS is torch"
    monkeypatch.setenv("LIBREHPS_KERNELS", "fla")
    with pytest.raises(UsageError, match="LIBREHPS_KERNELS: expected auto or torch, got 'fla'"):
        LibreHPS.from_pretrained("tiny")
    monkeypatch.delenv("LIBREHPS_KERNELS")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert obstacle(cuda) == "no C compiler found (no-such-compiler)"
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert obstacle(cuda) == "the package triton is not installed"
    capability[0] = (7, 5)
    assert obstacle(cuda) == "they need compute capability 8.0 or newer"


def test_no_kernel_where_a_gradient_or_a_graph_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A model in training has no first forward, and asks for none.
    assert choice.current_kernels() is None
    with choice.on_kernels():
        with torch.inference_mode(False), torch.enable_grad():
            assert choice.current_kernels() is None
        assert choice.current_kernels() is not None
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert choice.current_kernels() is None


def test_the_delta_rule_is_exact_in_float32() -> None:
    from librehps.models.kernels.delta_rule import delta_rule

    with choice.on_kernels():
        assert delta.delta_rule(torch.zeros(1)) is delta.chunked_delta_rule
        assert delta.delta_rule(torch.zeros(1).bfloat16()) is delta_rule
