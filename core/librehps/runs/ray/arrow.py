"""Arrow tables that the machines of a cluster exchange: decoded items and scored rows.

Pixels travel as uint8: a still of the published size is 602,112 bytes, a clip of eight frames
4.8 MB; token ids and positions add 5 kB, the item itself some hundred bytes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from librehps import errors
from librehps.engine.decode import Decoded
from librehps.engine.window import Ready
from librehps.errors import ItemError, LibreHPSError
from librehps.models.base import Prepared
from librehps.runs.item_json import item_from, to_entry
from librehps.runs.progress import REMARKS
from librehps.scores.columns import full_columns
from librehps.scores.parquet import schema_of, to_batch
from librehps.scores.row import to_full_record
from librehps.settings import Settings
from librehps.types import Item, ScoredRow

# A column of the user can have any other name.
INDEX, FAILURE = "librehps.index", "librehps.failure"
_TEXTS = pa.list_(pa.string())
STREAM = ("ids", "positions", "vision")
_INTS = pa.list_(pa.int32())
LISTED = pa.schema([("index", pa.int64()), ("entry", pa.string())])
DECODED = pa.schema(
    [
        *LISTED,
        ("error", pa.string()),
        ("kind", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("frames", _INTS),
        ("prompt_tokens", pa.int32()),
        ("sha256", pa.string()),
        ("shape", _INTS),
        ("pixels", pa.large_binary()),
        ("ids", pa.binary()),
        ("positions", pa.binary()),
        ("vision", pa.binary()),
        (REMARKS, _TEXTS),
        (FAILURE, pa.string()),
    ]
)


def listed_table(entries: Sequence[tuple[int, str]]) -> Any:
    """Return a table of (index, JSON of the item), as in the journal's listing."""
    return pa.table([list(column) for column in zip(*entries, strict=True)], schema=LISTED)


def items_of(table: Any) -> list[tuple[int, Item]]:
    """Return (index, item) for each row of a `listed_table`."""
    entries = map(item_from, map(json.loads, table["entry"].to_pylist()))
    return list(zip(table["index"].to_pylist(), entries, strict=True))


def decoded_table(ready: Sequence[tuple[int, Ready]], failure: LibreHPSError | None = None) -> Any:
    """Return a table of decoded items, or their errors; `failure` ended the whole task."""
    rows: list[dict[str, Any]] = [] if failure is None else [{FAILURE: _told(failure)}]
    for index, item in ready:
        row = {"index": index, "entry": json.dumps(to_entry(item.item))}
        if item.error is not None:
            row["error"] = json.dumps(_named(item.error))
        rows.append(row if item.decoded is None else {**row, **_fields(item.decoded)})
    return pa.Table.from_pylist(rows, schema=DECODED)


def ready_of(table: Any) -> list[tuple[int, Ready]]:
    """Return (index, decoded item) for each row of a `decoded_table`."""
    rows = table.drop_columns(["pixels"]).to_pylist()
    return [
        (row["index"], _ready(row, pixels))
        for row, pixels in zip(rows, table["pixels"], strict=True)
    ]


def scored_schema(settings: Settings, own: Mapping[str, str]) -> Any:
    """Return the schema of scored rows: every column, the index, and the failure of an actor."""
    schema = schema_of(settings, {**full_columns(settings.axes), **own}, None)
    more = {INDEX: pa.int64(), REMARKS: _TEXTS, FAILURE: pa.string()}
    for name, kind in more.items():
        schema = schema.append(pa.field(name, kind))
    return schema


def scored_table(rows: Sequence[tuple[int, ScoredRow]], schema: Any, settings: Settings) -> Any:
    """Return scored rows as a table in `scored_schema`."""
    ours = full_columns(settings.axes)
    texts = [f.name for f in schema if f.type == pa.string() and f.name not in ours]
    records = [
        {
            **to_full_record(row, settings),
            **row.item.extra,
            INDEX: index,
            REMARKS: sorted(row.remarks),
        }
        for index, row in rows
    ]
    return pa.Table.from_batches([to_batch(records, schema, texts)], schema)


def failure_table(error: LibreHPSError, schema: Any) -> Any:
    """Return a table of one row that holds the error of an actor."""
    return pa.Table.from_pylist([{FAILURE: _told(error)}], schema=schema)


def failure_of(table: Any) -> LibreHPSError | None:
    """Return the error of a Ray worker that the worker's result table holds, else None."""
    if table[FAILURE].null_count == len(table):
        return None
    name, message, hint = json.loads(table[FAILURE].drop_null()[0].as_py())
    kind: type[LibreHPSError] = getattr(errors, name)
    return kind(message, hint)


def raise_failure(table: Any) -> None:
    """Raise the actor's or task's error in the table, if there is one."""
    if failure := failure_of(table):
        raise failure


def _told(error: LibreHPSError) -> str:
    return json.dumps([*_named(error), error.hint])


def _named(error: LibreHPSError) -> list[str]:
    return [type(error).__name__, str(error)]


def _fields(decoded: Decoded) -> dict[str, Any]:
    pixels, stream = decoded.prepared.pixels, decoded.prepared
    return {
        "kind": decoded.kind,
        "width": decoded.width,
        "height": decoded.height,
        "frames": decoded.frames,
        "prompt_tokens": decoded.prompt_tokens,
        "sha256": decoded.sha256,
        REMARKS: sorted(decoded.remarks),
        "shape": list(pixels.shape),
        "pixels": pixels.contiguous().numpy().tobytes(),
        **{name: getattr(stream, name).to(torch.int32).numpy().tobytes() for name in STREAM},
    }


def _ready(row: Mapping[str, Any], pixels: Any) -> Ready:
    item = item_from(json.loads(row["entry"]))
    if row["error"] is not None:
        name, message = json.loads(row["error"])
        kind: type[ItemError] = getattr(errors, name)
        return Ready(item, None, kind(message))
    # Copied, since Ray's memory is read-only and may be reused.
    values = torch.from_numpy(np.frombuffer(pixels.as_buffer(), np.uint8).copy())
    ids, positions, vision = (
        torch.from_numpy(np.frombuffer(row[name], np.int32).astype(np.int64)) for name in STREAM
    )
    decoded = Decoded(
        Prepared(values.view(*row["shape"]), ids, positions.view(3, -1), vision),
        row["kind"],
        row["width"],
        row["height"],
        None if row["frames"] is None else tuple(row["frames"]),
        row["prompt_tokens"],
        row["sha256"],
        frozenset(row[REMARKS]),
    )
    return Ready(item, decoded)
