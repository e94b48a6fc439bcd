"""Refusal of checkpoints whose stored weights are already quantised."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from librehps.errors import CheckpointError

HINT = (
    "Use the checkpoint with float weights, and --weights int8 (in Python weights='int8') to "
    "quantise it while it is read."
)
# Objects of a config.json that describe quantised tensors.
FIELDS = ("quantization_config", "compression_config", "quantization")
# Beginnings of safetensors' names of number types of 8 bits and less.
DTYPES = ("I8", "U8", "F8_", "F6_", "F4")
# Last parts of the names that bitsandbytes, GPTQ, AWQ, fp8 and torchao give to what they store.
PARTS = frozenset(
    {
        *("SCB", "absmax", "quant_map", "nested_absmax", "nested_quant_map", "weight_format"),
        *("qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale"),
        *("weight_scale_inv", "weight_zero_point", "weight_shape", "input_scale"),
        *("weight_qdata", "weight_scale_2", "_weight_qdata", "_weight_scale"),
        *("weight_blocks", "weight_scales"),
    }
)


def check_float_config(file: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a config.json, or its text_config, says that weights are quantised.

    An object that is null or empty says nothing.
    """
    text = config.get("text_config")
    for part in (config, text if isinstance(text, Mapping) else {}):
        for field in FIELDS:
            found = part.get(field)
            if not found:
                continue
            method = found.get("quant_method") if isinstance(found, Mapping) else None
            named = f"{field}: {method}" if method else field
            raise CheckpointError(
                f"{file}: quantised checkpoints are not supported ({named})", hint=HINT
            )


def check_float_tensor(shard: Path, name: str, dtype: str) -> None:
    """Raise CheckpointError if a stored tensor's name or number type is that of quantised weights.

    `dtype` is the name in the safetensors header.
    """
    if dtype.startswith(DTYPES) or name.rpartition(".")[2] in PARTS:
        raise CheckpointError(
            f"{shard}: quantised checkpoints are not supported ({name} is {dtype})", hint=HINT
        )
