"""The fields of a Qwen3.5 config.json that the network reads, checked.

Defaults of absent fields, and older names, are those of the config classes of `transformers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from librehps.errors import CheckpointError
from librehps.models.librehps.activations import ACTIVATIONS

LINEAR, FULL = "linear_attention", "full_attention"
PATCH, MERGE, STEP_FRAMES, CHANNELS = 16, 2, 2, 3

C = TypeVar("C", "TextConfig", "VisionConfig")


@dataclass(frozen=True)
class Rope:
    """The rotary positions of a model: base, share of a head that is rotated, MRoPE sections."""

    theta: float = 10_000.0
    share: float = 0.25
    sections: tuple[int, ...] = (11, 11, 10)


@dataclass
class TextConfig:
    """The sizes of the text model."""

    vocab_size: int = 248_320
    hidden_size: int = 4096
    intermediate_size: int = 12_288
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    num_key_value_heads: int = 4
    head_dim: int = 256
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    attention_dropout: float = 0.0
    linear_conv_kernel_dim: int = 4
    linear_key_head_dim: int = 128
    linear_value_head_dim: int = 128
    linear_num_key_heads: int = 16
    linear_num_value_heads: int = 32
    layer_types: tuple[str, ...] = field(default=(), init=False)
    rope: Rope = field(default=Rope(), init=False)
    # The attention backend, under the name that flash attention of `transformers` reads.
    _attn_implementation: str = field(default="sdpa", init=False)

    @property
    def rotary_dim(self) -> int:
        """The number of values of a head that are rotated: even."""
        return int(self.head_dim * self.rope.share)


@dataclass
class VisionConfig:
    """The sizes of the vision tower."""

    depth: int = 27
    hidden_size: int = 1152
    hidden_act: str = "gelu_pytorch_tanh"
    intermediate_size: int = 4304
    num_heads: int = 16
    in_channels: int = CHANNELS
    patch_size: int = PATCH
    spatial_merge_size: int = MERGE
    temporal_patch_size: int = STEP_FRAMES
    out_hidden_size: int = 3584
    num_position_embeddings: int = 2304
    rope: Rope = field(default=Rope(), init=False)
    _attn_implementation: str = field(default="sdpa", init=False)


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of the whole network."""

    text_config: TextConfig
    vision_config: VisionConfig


def read_config(stored: Mapping[str, Any]) -> ModelConfig:
    """Return the sizes in a config.json; raises CheckpointError that names the first bad field."""
    text_fields, vision_fields = _part(stored, "text_config"), _part(stored, "vision_config")
    text = _read(TextConfig, text_fields, "text_config")
    vision = _read(VisionConfig, vision_fields, "vision_config")
    text.rope = _rope(text_fields, "text_config", "default")
    vision.rope = _rope(vision_fields, "vision_config", "axial")
    text.layer_types = _layer_types(text_fields, text.num_hidden_layers)
    _check_text(text)
    _check_vision(vision, text.hidden_size)
    return ModelConfig(text, vision)


def _part(stored: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = stored.get(name)
    _expect(isinstance(part, dict), name, "an object", part)
    return part or {}


def _read(kind: type[C], stored: Mapping[str, Any], place: str) -> C:
    """Return the fields of `kind` that are stored, checked by the type of their default."""
    values = {}
    for one in fields(kind):
        if one.init and one.name in stored:
            value, default = stored[one.name], one.default
            words, fits = _expected(default, value)
            _expect(fits, f"{place}.{one.name}", words, value)
            values[one.name] = value
    return kind(**values)


def _expected(default: Any, value: Any) -> tuple[str, bool]:
    """Return the expected kind of a value in words, and True if the value is of this kind."""
    if isinstance(default, bool):
        return "true or false", isinstance(value, bool)
    if isinstance(default, str):
        return " or ".join(ACTIVATIONS), isinstance(value, str) and value in ACTIVATIONS
    if isinstance(default, int):
        return "an integer above 0", _is_number(value, int) and value > 0
    return "a number from 0 to 1", _is_number(value, int, float) and 0 <= value <= 1


def _rope(stored: Mapping[str, Any], place: str, kind: str) -> Rope:
    """Return the rotary positions, stored under `rope_parameters` or older names."""
    name = "rope_scaling" if stored.get("rope_scaling") else "rope_parameters"
    own, place = stored.get(name) or {}, f"{place}.{name}"
    is_flat = isinstance(own, dict) and not any(isinstance(v, dict) for v in own.values())
    _expect(is_flat, place, "one object for all layers", own)
    found = own.get("rope_type", own.get("type", "default"))
    _expect(found in ("default", kind), f"{place}.rope_type", f"'{kind}'", found)
    theta = own.get("rope_theta", stored.get("rope_theta", Rope.theta))
    _expect(_is_number(theta, int, float) and theta > 0, f"{place}.rope_theta", "above 0", theta)
    share = own.get("partial_rotary_factor", stored.get("partial_rotary_factor", Rope.share))
    fits = _is_number(share, int, float) and 0 < share <= 1
    _expect(fits, f"{place}.partial_rotary_factor", "above 0 and at most 1", share)
    sections = own.get("mrope_section", list(Rope.sections))
    fits = isinstance(sections, list) and all(_is_number(n, int) and n >= 0 for n in sections)
    _expect(fits and len(sections) == 3, f"{place}.mrope_section", "three integers", sections)
    return Rope(theta, share, tuple(sections))


def _layer_types(stored: Mapping[str, Any], layers: int) -> tuple[str, ...]:
    """Return the kind of each layer: as stored, or full attention at every n-th layer."""
    kinds = stored.get("layer_types")
    if kinds is None:
        every = stored.get("full_attention_interval", 4)
        fits = _is_number(every, int) and every > 0
        _expect(fits, "text_config.full_attention_interval", "an integer above 0", every)
        kinds = [LINEAR if (at + 1) % every else FULL for at in range(layers)]
    fits = isinstance(kinds, list) and all(kind in (LINEAR, FULL) for kind in kinds)
    fits = fits and len(kinds) == layers
    _expect(fits, "text_config.layer_types", f"{layers} of {LINEAR} or {FULL}", kinds)
    return tuple(kinds)


def _check_text(text: TextConfig) -> None:
    _divides(text, "num_attention_heads", "num_key_value_heads")
    _divides(text, "linear_num_value_heads", "linear_num_key_heads")
    fits = text.rotary_dim > 0 and text.rotary_dim % 2 == 0
    _expect(fits, "text_config.head_dim", "an even number of rotated values", text.head_dim)


def _check_vision(vision: VisionConfig, text_width: int) -> None:
    for name, supported in (
        ("patch_size", PATCH),
        ("spatial_merge_size", MERGE),
        ("temporal_patch_size", STEP_FRAMES),
        ("in_channels", CHANNELS),
        ("out_hidden_size", text_width),
    ):
        value = getattr(vision, name)
        _expect(value == supported, f"vision_config.{name}", str(supported), value)
    # Rows and columns each rotate pairs of values in half of a head.
    fits = vision.hidden_size % (4 * vision.num_heads) == 0
    _expect(fits, "vision_config.hidden_size", "4 x n x num_heads", vision.hidden_size)


def _divides(config: TextConfig, name: str, divisor: str) -> None:
    value, by = getattr(config, name), getattr(config, divisor)
    _expect(value % by == 0, f"text_config.{name}", f"a multiple of {divisor}, {by}", value)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _expect(fits: bool, name: str, expected: str, value: object) -> None:
    if not fits:
        raise CheckpointError(
            f"config.json: cannot build the model: `{name}`: expected {expected}, got {value!r}"
        )
