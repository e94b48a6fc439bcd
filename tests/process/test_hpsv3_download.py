"""`--model MizzenAI/HPSv3`: weights from one repository, config and tokenizer from another."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest

import forks
from conftest import runner
from fake_hub import fake_hub

CHECKPOINT = Path(__file__).parents[1] / "golden_hpsv3" / "checkpoint"
WEIGHTS, BASE = "MizzenAI/HPSv3", "Qwen/Qwen2-VL-7B-Instruct"
INFO = ("info", "--model", WEIGHTS, "--json")
LITERALS = '''
INSTRUCTION = """
Rate it.
Text: {text_prompt}
"""
prompt_with_special_token = "Rating: <|Reward|>"
'''


def repositories() -> dict[str, dict[str, bytes]]:
    files = {file.name: file.read_bytes() for file in CHECKPOINT.iterdir()}
    weights = files.pop("HPSv3.safetensors")
    del files["prompt_template.json"]
    return {
        WEIGHTS: {"HPSv3.safetensors": weights, "final.pth": b"no", "README.md": b"no"},
        BASE: {**files, "model-00001-of-00005.safetensors": b"no"},
    }


@pytest.fixture
def packages(tmp_path: Path) -> str:
    """A search path with an installed `hpsv3`, whose words are our own."""
    site = tmp_path / "site"
    (site / "hpsv3" / "dataset").mkdir(parents=True)
    (site / "hpsv3" / "dataset" / "data_collator_qwen.py").write_text(LITERALS)
    (site / "hpsv3-1.0.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: hpsv3\nVersion: 1.0.0\n"
    (site / "hpsv3-1.0.0.dist-info" / "METADATA").write_text(metadata)
    return os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])


# A new interpreter: the variables of the hub are read at import.
fresh = runner(sys.executable, "-m", "librehps_cli")


def test_two_repositories_make_one_model(tmp_path: Path, packages: str) -> None:
    home = tmp_path / "hf"
    with fake_hub(repositories(), home) as (hub, paths):
        hub["PYTHONPATH"] = packages
        info = partial(runner(*forks.librehps(**hub)), *INFO, **hub)
        refused = info()
        assert (refused.returncode, paths) == (2, [])
        assert "17 GB would be downloaded" in refused.stderr
        done = info("--download")
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)
        assert record["model"]["value"] == WEIGHTS
        assert record["axes"]["value"] == ["overall"]
        fetched = {Path(path).name for path in paths if "/resolve/" in path}
        assert fetched == {"HPSv3.safetensors", "config.json", "tokenizer.json"}
        paths.clear()
        again = info()
        assert json.loads(again.stdout) == record
        assert paths == []
        next(home.rglob("tokenizer.json")).unlink()
        torn = info()
        assert torn.returncode == 2
        assert f"{BASE} is not on this machine: 7 MB would be downloaded" in torn.stderr
        offline = fresh(*INFO, **{**hub, "HF_HUB_OFFLINE": "1"})
        assert offline.returncode == 1
        assert "HF_HUB_OFFLINE" in offline.stderr
