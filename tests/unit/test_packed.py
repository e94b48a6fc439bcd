"""Columns in fewer bytes: whatever Arrow columns are packed come back as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from librehps import LibreHPS
from librehps.engine.outcome import sigmoids
from librehps.runs.packed import around, fields_of, packed, records_of, type_of, unpacked
from librehps.runs.row_groups import group_payload, group_table
from librehps.scores.columns import INDEX
from librehps.scores.row_batch import RowSchema

COUNT = 23


def texts(rng: np.random.Generator, kind: int) -> list[str | None]:
    """Return texts of one way: constant, of one length, hexadecimal or nearly so, long, null."""
    digits = [rng.bytes(8).hex() for _ in range(COUNT)]
    ways: list[list[Any]] = [
        ["image"] * COUNT,
        [""] * COUNT,
        [f"{at:08}.png" for at in range(COUNT)],
        ["猫" * at for at in range(COUNT)],
        ["x" * 300 * at for at in range(COUNT)],
        digits,
        [*digits[1:], digits[0].upper()],
        [*digits[1:], f"{digits[0][:-1]} "],
        [*digits[1:], digits[0][:-2]],
        [*digits[1:], "zz"],
        ["a" if at < COUNT // 2 else None for at in range(COUNT)],
    ]
    return [None if rng.random() < 0.2 else one for one in ways[kind]] if kind % 2 else ways[kind]


@pytest.mark.parametrize("seed", range(24))
def test_columns_come_back(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = {str(way): pa.array(texts(rng, way), pa.string()) for way in range(11)}
    columns |= {
        "nothing": pa.nulls(COUNT, pa.list_(pa.int32())),
        "frames": pa.array([[at] * (at % 3) for at in range(COUNT)], pa.list_(pa.int32())),
        "number": pa.array(rng.integers(0, 9, COUNT), mask=rng.random(COUNT) < 0.5),
        "yes": pa.array(rng.random(COUNT) < 0.5),
    }
    # Slices of longer arrays, and nulls with a text behind them.
    columns["slice"] = pa.concat_arrays([columns["2"], columns["9"]]).slice(COUNT // 2, COUNT)
    _, *buffers = columns["2"].buffers()
    nulls = pa.py_buffer(bytes([0xFE, 0xFF, 0x7F]))
    columns["hidden"] = pa.Array.from_buffers(pa.string(), COUNT, [nulls, *buffers])
    if seed < 3:
        columns = {name: columns[name] for name in ("0", "1", "nothing")[seed:]}
    size = int(rng.integers(1, COUNT + 9))
    schema, batches = packed(columns, size)
    file = tmp_path / "x.arrow"
    with pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    records = records_of(schema) or {}
    assert {name: type_of(records[name], schema) for name in columns} == {
        name: column.type for name, column in columns.items()
    }
    names = rng.permutation(list(columns)).tolist()[: int(rng.integers(1, len(columns) + 1))]
    options = pa.ipc.IpcReadOptions(included_fields=fields_of(records, names) or [0])
    with pa.ipc.open_file(file, options=options) as reader:
        found = [unpacked(reader.get_batch(at), records, names) for at in range(len(batches))]
    for name in names:
        whole = pa.concat_arrays([one[name] for one in found])
        whole.validate(full=True)
        assert whole.equals(columns[name]) and whole.type == columns[name].type


@pytest.mark.parametrize(
    ("ids", "media", "is_found"),
    [
        (["a", "bcd", "猫"], ["x/a.png", "x/bcd.png", "x/猫.png"], True),
        (["aa", "bb", "cc"], ["abcaa.png", "y//bb.jpg", "猫cc.png"], True),
        (["aa", "bb", "cc"], ["x/aa.png", "y/bc.jpg", "x/cc.png"], False),
        (["a", "bb", "c"], ["x/a.png", "y/bb.jpg", "x/c.png"], False),
        (["a", "b", "c"], ["a", "b", "c"], True),
        (["b", "c"], ["bb.png", "cb.png"], True),
        (["b", "c"], ["bb.png", "bc.png"], False),
        (["", "c"], ["b.png", "c.png"], False),
        (["a", None], ["a.png", "b.png"], False),
        (["a", "b"], ["a.png", None], False),
    ],
)
def test_texts_around_others_are_found(ids: Any, media: Any, is_found: bool) -> None:
    # Slices of longer arrays.
    inner, outer = (pa.array(["z", *texts], pa.string()).slice(1) for texts in (ids, media))
    found = around(inner, outer)
    assert (found is not None) == is_found
    if found is not None:
        before, after = found
        assert pc.binary_join_element_wise(before, inner, after, "").equals(outer)


@pytest.mark.parametrize("way", ["exact", "one bit", "a null", "a NaN", "not of mu"])
def test_means_are_stored_unless_mu_gives_them(way: str) -> None:
    schema = RowSchema(LibreHPS.from_pretrained("tiny").settings, {})
    rng = np.random.default_rng(0)
    mus = rng.normal(0, 4, (2, 200)).astype(np.float32)
    means = sigmoids(mus.astype(float).ravel()).astype(np.float32).reshape(mus.shape)
    is_null = np.zeros((2, 200), bool)
    is_null[0, 3:5] = True
    columns = {field.name: pa.nulls(200, field.type) for field in schema.arrow}
    columns[INDEX] = pa.array(np.arange(7, 207) if way == "exact" else rng.permutation(200))
    bits = means[1].view(np.uint32)
    if way == "one bit":
        bits[150] ^= 1
    elif way == "a null":
        is_null[1, 20] = True
    elif way == "a NaN":
        means[1, 9] = mus[1, 9] = np.nan
    elif way == "not of mu":
        means[1] = 0.5
    for axis, at in (("overall", 0), ("style", 1)):
        columns[axis] = pa.array(means[at], mask=is_null[at])
        columns[f"{axis}_mu"] = pa.array(mus[at], mask=is_null[0] if at == 0 else None)
    table = pa.table(columns)
    payload = bytes(group_payload(table, schema.axes))
    with pa.ipc.open_stream(payload) as reader:
        records = records_of(reader.schema) or {}
    assert ("mu" in records["overall"], "mu" in records["style"]) == (True, way == "exact")
    for names in (table.column_names, [INDEX], ["style"], ["overall", "status"]):
        found, expected = group_table(payload, names), table.select(names)
        assert found.schema.equals(expected.schema)
        for name in names:
            one, other = (each[name].combine_chunks() for each in (found, expected))
            assert one.is_null().equals(other.is_null())
            one, other = (
                each.to_numpy(zero_copy_only=False).tobytes()
                if name in columns and pa.types.is_floating(each.type)
                else each
                for each in (one, other)
            )
            assert one == other
