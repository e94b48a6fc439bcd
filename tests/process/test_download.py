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
CUT = "somebody/cut"
REFUSALS = {
    "gated/model": (403, "GatedRepo", "Access to model gated/model is restricted"),
    "bad/token": (401, "", "Invalid credentials in Authorization header"),
    "no/right": (403, "", "You are not allowed to read this"),
    "down/today": (503, "", "Service Unavailable"),
    "no/such": (404, "RepoNotFound", "Repository not found"),
    "no/revision": (404, "RevisionNotFound", "Invalid rev id: v9"),
    f"{CUT}/resolve/0123456789abcdef0123456789abcdef01234567/model-00002": (500, "", "Broken"),
}


@dataclass(frozen=True)
class Hub:
    """A hub of two checkpoints: a command line that knows it alone, and the paths it was asked."""

    run: Cli
    paths: list[str]
    home: Path


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = tmp_path_factory.mktemp("hf")
    with fake_hub({REPO: FILES, TORN: FILES, CUT: FILES}, home, REFUSALS) as (environment, paths):
        yield Hub(partial(runner(*forks.librehps(**environment)), **environment), paths, home)


def test_a_download_needs_consent(hub: Hub) -> None:
    hub.paths.clear()
    done = hub.run("info")
    assert done.returncode == 2
    assert DEFAULT_MODEL in done.stderr
    assert "20.7 GB" in done.stderr
    assert "--download" in done.stderr
    assert hub.paths == []


def test_the_memory_of_a_model_needs_its_config_alone(hub: Hub) -> None:
    hub.paths.clear()
    done = hub.run("info", "--memory", "--json", "--model", TORN)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 3
    fetched = [path for path in hub.paths if "/resolve/" in path]
    assert fetched and all(path.endswith("/config.json") for path in fetched)


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
    assert "error: somebody/else: not found on the hub, or private (404)" in other.stderr


@pytest.mark.parametrize(
    ("repo", "problem", "hint"),
    [
        ("no/such", "not found on the hub, or private (404)", "private model: hf auth login"),
        ("no/revision", "revision not found: v9 (404)", "Check --revision"),
        ("gated/model", "access denied: the model is gated (403)", "/gated/model, then: hf auth"),
        ("bad/token", "the hub rejected your token (401)", "unset HF_TOKEN: hf auth login"),
        ("no/right", "permission denied for your token (403)", "can read this model: hf auth"),
        ("down/today", "download failed: the hub answered 503", "Wait a few minutes"),
    ],
)
def test_a_refusal_has_its_reason_and_the_next_step(
    hub: Hub, repo: str, problem: str, hint: str
) -> None:
    revision = ("--revision", "v9") if repo == "no/revision" else ()
    done = hub.run("info", "--model", repo, "--download", *revision, HF_TOKEN="hf_x")  # noqa: S106
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first == f"error: {repo}: {problem}"
    assert second.startswith("hint: ")
    assert hint in second
    assert "kept" not in second


def test_an_interrupted_download_keeps_what_is_whole(hub: Hub) -> None:
    done = hub.run("info", "--model", CUT, "--download", HF_HUB_DISABLE_PROGRESS_BARS="1")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()[-2:]
    assert first == f"error: {CUT}: download failed: the hub answered 500"
    assert second.endswith("run the same command again. Downloaded files are kept.")


def test_no_network(hub: Hub) -> None:
    # No one listens at the proxy.
    done = hub.run("info", "--model", REPO + "2", "--download", HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {REPO}2: cannot reach http://127.0.0.1:")
    assert "--model FOLDER" in second


def test_a_torn_cache_is_no_model(hub: Hub) -> None:
    download = ("info", "--model", TORN, "--download")
    assert hub.run(*download).returncode == 0
    cached = hub.home / "hub" / "models--somebody--torn"
    next(cached.rglob("model-00002-of-00004.safetensors")).unlink()
    refused = hub.run("info", "--model", TORN)
    assert refused.returncode == 2
    assert hub.run(*download).returncode == 0
