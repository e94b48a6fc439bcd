"""Checkpoints of a hub: none is fetched unasked, and once fetched they stay."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import forks
from conftest import CHECKPOINT, Cli, runner
from fake_hub import fake_hub
from librehps.settings import DEFAULT_MODEL

HPSV3 = Path(__file__).parents[1] / "golden_hpsv3" / "checkpoint"
REPO, TORN = "somebody/golden", "somebody/torn"
FILES = {f.name: f.read_bytes() for f in CHECKPOINT.iterdir()} | {"pytorch_model.bin": b"no"}
CUT = "somebody/cut"
WEIGHTS, BASE = "MizzenAI/HPSv3", "Qwen/Qwen2-VL-7B-Instruct"
REFUSALS = {
    "gated/model": (403, "GatedRepo", "Access to model gated/model is restricted"),
    "bad/token": (401, "", "Invalid credentials in Authorization header"),
    "no/right": (403, "", "You are not allowed to read this"),
    "down/today": (503, "", "Service Unavailable"),
    "no/such": (404, "RepoNotFound", "Repository not found"),
    "no/revision": (404, "RevisionNotFound", "Invalid rev id: v9"),
    f"{CUT}/resolve/0123456789abcdef0123456789abcdef01234567/model-00002": (500, "", "Broken"),
}
# What `hpsv3`, once installed, says of its prompt, in words of our own.
LITERALS = '''
INSTRUCTION = """
Rate it.
Text: {text_prompt}
"""
prompt_with_special_token = "Rating: <|Reward|>"
'''
# The command line as if HF_HUB_OFFLINE=1 had been set, which the hub's client reads when imported.
OFFLINE = """
from huggingface_hub import constants
from librehps_cli.main import main
constants.HF_HUB_OFFLINE = True
main()
"""


@dataclass(frozen=True)
class Hub:
    """A hub of checkpoints: a command line that knows it alone, and the paths it was asked.

    `offline` has the same cache, and may not ask.
    """

    run: Cli
    offline: Cli
    paths: list[str]
    home: Path

    def cached(self, repo: str) -> Path:
        return self.home / "hub" / f"models--{repo.replace('/', '--')}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    # One for all tests, since processes that read its address when they import take long to start.
    home = tmp_path_factory.mktemp("hf")
    repos = {REPO: FILES, TORN: FILES, CUT: FILES, **repositories_of_hpsv3()}
    with fake_hub(repos, home, REFUSALS) as (environment, paths):
        # What loading HPSv3 imports, for seconds each time.
        environment["FORKS_IMPORT"] = "transformers.models.qwen2_vl.modeling_qwen2_vl"
        environment["PYTHONPATH"] = packages(tmp_path_factory.mktemp("site"))
        run = runner(*forks.librehps(**environment))
        offline = runner(*forks.python(**environment), "-c", OFFLINE)
        yield Hub(partial(run, **environment), partial(offline, **environment), paths, home)


def repositories_of_hpsv3() -> dict[str, dict[str, bytes]]:
    """The weights in one repository, config and tokenizer in another."""
    files = {file.name: file.read_bytes() for file in HPSV3.iterdir()}
    weights = files.pop("HPSv3.safetensors")
    del files["prompt_template.json"]
    return {
        WEIGHTS: {"HPSv3.safetensors": weights, "final.pth": b"no", "README.md": b"no"},
        BASE: {**files, "model-00001-of-00005.safetensors": b"no"},
    }


def packages(site: Path) -> str:
    """A search path with an installed `hpsv3`, whose words are our own."""
    (site / "hpsv3" / "dataset").mkdir(parents=True)
    (site / "hpsv3" / "dataset" / "data_collator_qwen.py").write_text(LITERALS)
    (site / "hpsv3-1.0.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: hpsv3\nVersion: 1.0.0\n"
    (site / "hpsv3-1.0.0.dist-info" / "METADATA").write_text(metadata)
    return os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])


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
    next(hub.cached(TORN).rglob("model-00002-of-00004.safetensors")).unlink()
    refused = hub.run("info", "--model", TORN)
    assert refused.returncode == 2
    assert hub.run(*download).returncode == 0


def test_two_repositories_make_one_model(hub: Hub) -> None:
    """`--model MizzenAI/HPSv3`: weights from one repository, config and tokenizer from another."""
    hub.paths.clear()
    info = ("info", "--model", WEIGHTS, "--json")
    refused = hub.run(*info)
    assert (refused.returncode, hub.paths) == (2, [])
    assert "17 GB would be downloaded" in refused.stderr
    done = hub.run(*info, "--download")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"]["value"] == WEIGHTS
    assert record["axes"]["value"] == ["overall"]
    fetched = {Path(path).name for path in hub.paths if "/resolve/" in path}
    assert fetched == {"HPSv3.safetensors", "config.json", "tokenizer.json"}
    hub.paths.clear()
    again = hub.run(*info)
    assert json.loads(again.stdout) == record
    assert hub.paths == []
    next(hub.cached(BASE).rglob("tokenizer.json")).unlink()
    torn = hub.run(*info)
    assert torn.returncode == 2
    assert f"{BASE} is not on this machine: 7 MB would be downloaded" in torn.stderr
    offline = hub.offline(*info)
    assert offline.returncode == 1
    assert "HF_HUB_OFFLINE" in offline.stderr
