"""A shard that a process limit forbids to map is an error that names the limit."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from librehps.errors import MemoryShortError
from librehps.models.weights import tensor_names

SHARD_BYTES = 1 << 40


@pytest.fixture
def large_shard(tmp_path: Path) -> Path:
    """A shard of 1 TB, of which nothing but the header is on the disk."""
    entry = {"dtype": "F32", "shape": [SHARD_BYTES // 4], "data_offsets": [0, SHARD_BYTES]}
    header = json.dumps({"weight": entry}).encode()
    shard = tmp_path / "model.safetensors"
    with shard.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + SHARD_BYTES)
    return shard


@pytest.fixture
def limited() -> Iterator[None]:
    """Let this process map half of the shard, and restore its own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (SHARD_BYTES // 2, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_the_limit_is_named(large_shard: Path, limited: None) -> None:
    with pytest.raises(MemoryShortError, match=r"model\.safetensors cannot be mapped") as raised:
        tensor_names(large_shard)
    assert "ulimit" in str(raised.value.hint)
