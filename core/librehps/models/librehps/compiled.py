"""The network's forward with its pieces compiled by torch.compile.

A piece has no loop over items, chunks or layers, and only the first axis or the first two axes of
its tensors change from batch to batch. These axes are dynamic, so that a piece is compiled once for
a batch of one and once for all others, whatever sizes and prompts a folder has. Nothing is padded.
Attention, the triangular inverse and the scan over chunks stay as they are.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from librehps.errors import ModelError, UsageError
from librehps.models.agreement import agrees, difference
from librehps.models.base import Prepared
from librehps.models.kernels.choice import C_COMPILERS, compiler_obstacle
from librehps.models.librehps.gated_delta_net import (
    DeltaTerms,
    chunked_delta_rule,
    delta_rule,
    delta_terms,
    in_chunks,
    scan,
)
from librehps.models.librehps.model import LibreHPSModel
from librehps.models.librehps.rotary import Rotary
from librehps.models.threads import torch_threads

log = logging.getLogger("librehps")

# A piece has a graph for one row and one for more; others would be a storm of compilations.
MAX_GRAPHS = 48
# Rounds between operations as the plain forward does, so that bfloat16 scores stay close; and takes
# the number of threads of each call, which differs between the lanes of a CPU.
OPTIONS = {"emulate_precision_casts": True, "cpp.dynamic_threads": True}
Backend = Callable[[Any, list[Tensor]], Callable[..., Any]]
CPP_COMPILERS = ("g++", "clang++")


class Compiler:
    """The compiled pieces of a network, and the number of graphs that they took.

    `backend` returns the compiled form of a graph for its first inputs.
    """

    def __init__(self, backend: Backend) -> None:
        self.graphs = 0
        self._backend, self._caller = backend, threading.local()
        self.before_vision = self._compiled(before_vision)
        self.after_vision = self._compiled(after_vision)
        self.before_rule = self._compiled(before_rule)
        self.terms = self._compiled(delta_terms)
        self.after_rule = self._compiled(after_rule)
        self.before_attention = self._compiled(before_attention)
        self.after_attention = self._compiled(after_attention)

    def install(self, network: Any) -> None:
        """Make the layers of the network run on the compiled pieces; the parameters stay."""
        for block in network.model.visual.blocks:
            block.forward = partial(self._vision_block, block)
        for layer in network.model.language_model.layers:
            run = self._attention_layer if hasattr(layer, "self_attn") else self._linear_layer
            layer.forward = partial(run, layer)

    def _vision_block(
        self,
        block: Any,
        hidden: Tensor,
        cu_seqlens: Tensor,
        rotary: tuple[Tensor, Tensor],
        lengths: Sequence[int],
    ) -> Tensor:
        parts = self.before_vision(block, hidden, *rotary, axes=1)
        mixed = block.attn.mix(*parts, cu_seqlens, lengths)
        output: Tensor = self.after_vision(block, hidden, mixed, axes=1)
        return output

    def _linear_layer(self, layer: Any, hidden: Tensor, rotary: Rotary) -> Tensor:
        normed, inputs = self.before_rule(layer, hidden)
        rule = delta_rule(hidden)
        if rule is chunked_delta_rule:
            terms = DeltaTerms(*self.terms(*map(in_chunks, inputs)))
            read = scan(terms, hidden.shape[1]).to(hidden.dtype)
        else:
            read = rule(*inputs)
        output: Tensor = self.after_rule(layer, hidden, normed, read)
        return output

    def _attention_layer(self, layer: Any, hidden: Tensor, rotary: Rotary) -> Tensor:
        *parts, gate = self.before_attention(layer, hidden, *rotary)
        output: Tensor = self.after_attention(layer, hidden, layer.self_attn.mix(*parts), gate)
        return output

    def _compiled(self, piece: Callable[..., Any]) -> Callable[..., Any]:
        compiled = torch.compile(piece, backend=self._compile, dynamic=False)

        def call(*arguments: Any, axes: int = 2) -> Any:
            for value in arguments:
                if isinstance(value, Tensor):
                    for axis in range(axes):
                        torch._dynamo.maybe_mark_dynamic(value, axis)
            # torch.compile compiles again for another number of threads, which differs between the
            # lanes of a CPU: it always sees one, and a graph runs on those of its caller.
            self._caller.threads = torch.get_num_threads()
            with torch_threads(1):
                return compiled(*arguments)

        return call

    def _compile(self, graph: Any, inputs: list[Tensor]) -> Callable[..., Any]:
        """Return the compiled graph; beyond MAX_GRAPHS the graph as it is."""
        self.graphs += 1
        if self.graphs > MAX_GRAPHS:
            if self.graphs == MAX_GRAPHS + 1:
                log.warning("--compile: %d graphs compiled, further ones run plain", MAX_GRAPHS)
            run = graph.forward
        else:
            with torch_threads(self._caller.threads):
                run = self._backend(graph, inputs)

        def call(*values: Any) -> Any:
            with torch_threads(self._caller.threads):
                return run(*values)

        return call


def before_vision(block: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Any:
    return block.attn.inputs(block.norm1(hidden), (cos, sin))


def after_vision(block: Any, hidden: Tensor, mixed: Tensor) -> Tensor:
    hidden = hidden + block.attn.proj(mixed)
    output: Tensor = hidden + block.mlp(block.norm2(hidden))
    return output


def before_rule(layer: Any, hidden: Tensor) -> Any:
    normed = layer.input_layernorm(hidden)
    return normed, layer.linear_attn.rule_inputs(normed)


def after_rule(layer: Any, hidden: Tensor, normed: Tensor, read: Tensor) -> Tensor:
    return _feed_forward(layer, hidden + layer.linear_attn.finish(read, normed))


def before_attention(layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Any:
    return layer.self_attn.inputs(layer.input_layernorm(hidden), (cos, sin))


def after_attention(layer: Any, hidden: Tensor, mixed: Tensor, gate: Tensor) -> Tensor:
    return _feed_forward(layer, hidden + layer.self_attn.finish(mixed, gate))


def _feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def inductor(graph: Any, inputs: list[Tensor]) -> Callable[..., Any]:
    from torch._inductor.compile_fx import compile_fx

    compiled: Any = compile_fx(graph, inputs, config_patches=OPTIONS)
    return lambda *values: compiled(*values)


def check_compiler(device: torch.device) -> None:
    """Raise UsageError that names what torch.compile lacks to generate code for the device."""
    reason = _obstacle(device)
    if reason is not None:
        raise UsageError(
            f"--compile: not available on {device}: {reason}",
            hint="Install it (Debian: apt-get install g++), or leave out --compile.",
        )


def _obstacle(device: torch.device) -> str | None:
    if device.type not in ("cpu", "cuda"):
        return "it needs a CPU or CUDA"
    if device.type == "cuda" and find_spec("triton") is None:
        return "the package triton is not installed"
    if device.type == "cuda":
        return compiler_obstacle("C", "CC", C_COMPILERS)
    return compiler_obstacle("C++", "CXX", CPP_COMPILERS)


def compile_model(model: LibreHPSModel, one: Prepared) -> str:
    """Make a model run on compiled pieces, and return how long their compilation took.

    A batch of one and of two are compiled and held to the plain forward. Raises ModelError if
    compilation fails, or if a score differs by more than rounding.
    """
    batches = [[one, one], [one]]
    plain = [model.launch(batch)() for batch in batches]
    start, compiler = time.perf_counter(), Compiler(inductor)
    compiler.install(model.network)
    try:
        rows = [model.launch(batch)() for batch in batches]
    # torch.compile's own exceptions are RuntimeErrors.
    except (RuntimeError, ImportError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"--compile: failed on {model.device}: {first}", hint="Leave out --compile."
        ) from error
    seconds = time.perf_counter() - start
    moved = difference([*chain(*plain)], [*chain(*rows)])
    if not agrees(moved, model.dtype):
        raise ModelError(
            f"--compile: mu of compiled scores differs by {moved:.2g} from the plain forward",
            hint="Leave out --compile.",
        )
    said = f"{compiler.graphs} graphs compiled in {seconds:.0f} s"
    log.warning("--compile: %s", said)
    return f"as asked; {said}"
