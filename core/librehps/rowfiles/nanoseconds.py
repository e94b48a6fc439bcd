"""Arrow columns of times without nanoseconds, which Python holds only with pandas."""

from collections.abc import Callable, Sequence
from typing import Any

# Arrow's text of an offset: `Z`, `+0200`; Python's: `+00:00`, `+02:00`.
_OFFSET, _AS_PYTHON = r"([+-]\d\d)(\d\d)$", r"\1:\2"


def without_nanoseconds(column: Any) -> Any:
    """Return an Arrow column with times in microseconds; finer ones as text, but durations cut."""
    import pyarrow as pa

    coarse = _mapped(column.type, _in_microseconds)
    if coarse == column.type:
        return column
    try:
        return column.cast(coarse)
    except pa.ArrowInvalid:
        return _with_offsets(column.cast(_mapped(column.type, _as_text), safe=False))


def _with_offsets(column: Any) -> Any:
    """Return a column of text with offsets as Python writes them; another column as it is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column
    texts = pc.replace_substring_regex(column, r"Z$", "+00:00")
    return pc.replace_substring_regex(texts, _OFFSET, _AS_PYTHON)


def _in_microseconds(kind: Any) -> Any:
    """Return the type in microseconds of a type in nanoseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _as_text(kind: Any) -> Any:
    """Return text for a type of times, of which Arrow has the text; a duration is cut instead."""
    import pyarrow as pa

    return pa.duration("us") if pa.types.is_duration(kind) else pa.string()


def _mapped(kind: Any, change: Callable[[Any], Any]) -> Any:
    """Return a type with each type in nanoseconds changed, also in lists, structs and maps."""
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time64(kind):
        return change(kind) if kind.unit == "ns" else kind
    if types.is_struct(kind):
        inner = [kind.field(at).type for at in range(kind.num_fields)]
    elif types.is_map(kind):
        inner = [kind.key_type, kind.item_type]
    elif types.is_nested(kind) or types.is_dictionary(kind):
        inner = [kind.value_type]
    else:
        return kind
    found = [_mapped(part, change) for part in inner]
    return kind if found == inner else _rebuilt(kind, found)


def _rebuilt(kind: Any, inner: Sequence[Any]) -> Any:
    """Return the nested type with these types inside; for a dictionary the type of its values."""
    import pyarrow as pa

    types = pa.types
    if types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([one.with_type(new) for one, new in zip(fields, inner, strict=True)])
    if types.is_map(kind):
        return pa.map_(*inner)
    return inner[0] if types.is_dictionary(kind) else pa.list_(inner[0])
