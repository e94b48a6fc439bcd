"""Checkpoints of a hub: none is fetched unasked, and once fetched they stay."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CHECKPOINT, Cli
from fake_hub import fake_hub
from librehps.settings import DEFAULT_MODEL

REPO = "somebody/golden"
Hub = tuple[dict[str, str], list[str]]
FILES = {f.name: f.read_bytes() for f in CHECKPOINT.iterdir()} | {"pytorch_model.bin": b"no"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """(environment of a process that knows this hub alone, paths it was asked for)."""
    with fake_hub({REPO: FILES}, tmp_path / "hf") as found:
        yield found


def test_a_download_needs_consent(fresh_process: Cli, hub: Hub) -> None:
    environment, paths = hub
    done = fresh_process("info", **environment)
    assert done.returncode == 2
    assert DEFAULT_MODEL in done.stderr
    assert "20.7 GB" in done.stderr
    assert "--download" in done.stderr
    assert paths == []


def test_download_then_cache(fresh_process: Cli, hub: Hub) -> None:
    environment, paths = hub
    refused = fresh_process("info", "--model", REPO, **environment)
    assert (refused.returncode, paths) == (2, [])
    done = fresh_process("info", "--model", REPO, "--download", "--json", **environment)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"]["value"] == REPO
    assert not any(path.endswith(".bin") for path in paths)
    paths.clear()
    again = fresh_process("info", "--model", REPO, "--json", **environment)
    assert json.loads(again.stdout) == record
    assert paths == []
    other = fresh_process("info", "--model", "somebody/else", "--download", **environment)
    assert other.returncode == 1
    assert "the hub has no somebody/else" in other.stderr


def test_a_torn_cache_is_no_model(fresh_process: Cli, hub: Hub) -> None:
    environment, _ = hub
    assert fresh_process("info", "--model", REPO, "--download", **environment).returncode == 0
    shard = next(Path(environment["HF_HOME"]).rglob("model-00002-of-00004.safetensors"))
    shard.unlink()
    refused = fresh_process("info", "--model", REPO, **environment)
    assert refused.returncode == 2
    assert fresh_process("info", "--model", REPO, "--download", **environment).returncode == 0
