"""Checkpoints of a hub: none is fetched unasked, and once fetched they stay."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import forks
from conftest import CHECKPOINT, Cli, runner
from fake_hub import fake_hub
from librehps.settings import DEFAULT_MODEL

REPO, TORN = "somebody/golden", "somebody/torn"
FILES = {f.name: f.read_bytes() for f in CHECKPOINT.iterdir()} | {"pytorch_model.bin": b"no"}


@dataclass(frozen=True)
class Hub:
    """A hub of two checkpoints: a command line that knows it alone, and the paths it was asked."""

    run: Cli
    paths: list[str]
    home: Path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = tmp_path_factory.mktemp("hf")
    with fake_hub({REPO: FILES, TORN: FILES}, home) as (environment, paths):
        yield Hub(partial(runner(*forks.librehps(**environment)), **environment), paths, home)


def test_a_download_needs_consent(hub: Hub) -> None:
    hub.paths.clear()
    done = hub.run("info")
    assert done.returncode == 2
    assert DEFAULT_MODEL in done.stderr
    assert "20.7 GB" in done.stderr
    assert "--download" in done.stderr
    assert hub.paths == []


def test_download_then_cache(hub: Hub) -> None:
    hub.paths.clear()
    refused = hub.run("info", "--model", REPO)
    assert (refused.returncode, hub.paths) == (2, [])
    done = hub.run("info", "--model", REPO, "--download", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"]["value"] == REPO
    assert not any(path.endswith(".bin") for path in hub.paths)
    hub.paths.clear()
    again = hub.run("info", "--model", REPO, "--json")
    assert json.loads(again.stdout) == record
    assert hub.paths == []
    other = hub.run("info", "--model", "somebody/else", "--download")
    assert other.returncode == 1
    assert "the hub has no somebody/else" in other.stderr


def test_a_torn_cache_is_no_model(hub: Hub) -> None:
    download = ("info", "--model", TORN, "--download")
    assert hub.run(*download).returncode == 0
    cached = hub.home / "hub" / "models--somebody--torn"
    next(cached.rglob("model-00002-of-00004.safetensors")).unlink()
    refused = hub.run("info", "--model", TORN)
    assert refused.returncode == 2
    assert hub.run(*download).returncode == 0
