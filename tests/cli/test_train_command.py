"""librehps train: what is learned, what is written, what is refused."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import CHECKPOINT, Cli
from librehps import LibreHPS
from librehps.models.librehps.checkpoint import canonical_name
from preference_data import brightness_pairs, metrics, train_command


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brightness_pairs(tmp_path_factory.mktemp("pairs"), 40)


@pytest.mark.slow
def test_heads_on_100_pairs_lower_held_out_loss(cli: Cli, tmp_path: Path) -> None:
    pairs = brightness_pairs(tmp_path, 100)
    output = tmp_path / "out"
    done = cli(*train_command(pairs, output, "--part", "heads", "--head-rate", "0.002"))
    assert done.returncode == 0, done.stderr
    told = [line["held_out"] for line in metrics(output) if "held_out" in line]
    best = json.loads(done.stdout)["best_loss"]
    assert best < 0.75 * told[0]["loss"]
    assert max(figures["accuracy"] for figures in told) > told[0]["accuracy"]
    # Only the heads have moved; all else is stored as it was.
    stored = {k: v for f in CHECKPOINT.glob("*.safetensors") for k, v in load_file(f).items()}
    before = {canonical_name(name): tensor for name, tensor in stored.items()}
    after = load_file(output / "model.safetensors")
    moved = {k for k in after if not torch.equal(after[k].float(), before[k].float())}
    assert moved
    assert all(name.startswith(("multi_axis_head.", "scalar_head.")) for name in moved)


@pytest.mark.slow
def test_a_run_is_not_resumed_as_another(pairs: Path, tmp_path: Path, cli: Cli) -> None:
    extra = ("--part", "heads", "--steps", 3)
    assert cli(*train_command(pairs, tmp_path / "o", *extra)).returncode == 0
    other = cli(*train_command(pairs, tmp_path / "o", *extra, "--seed", 1, "--resume"))
    assert other.returncode == 1
    assert "started with different seed" in other.stderr
    again = cli(*train_command(pairs, tmp_path / "o", *extra))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    (tmp_path / "o" / "thesis.docx").touch()
    replaced = cli(*train_command(pairs, tmp_path / "o", *extra, "--overwrite"))
    assert replaced.returncode == 2
    assert "thesis.docx" in replaced.stderr


@pytest.mark.slow
def test_a_plain_backbone_gets_heads_and_a_reward_token(
    pairs: Path, tmp_path: Path, cli: Cli
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    tensors = {k: v for f in CHECKPOINT.glob("*.safetensors") for k, v in load_file(f).items()}
    save_file({k: v for k, v in tensors.items() if "_head." not in k}, plain / "model.safetensors")
    shutil.copy(CHECKPOINT / "config.json", plain)
    spec = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] != "<|Reward|>"]
    (plain / "tokenizer.json").write_text(json.dumps(spec))
    output = tmp_path / "out"
    done = cli(*train_command(pairs, output, "--part", "lora", "--steps", 3, model=plain))
    assert done.returncode == 0, done.stderr
    trained = LibreHPS.from_pretrained(output, device="cpu")
    score = trained.score_image(pairs.parent / "0a.png", "a scene")
    assert math.isfinite(score.overall.raw_mean)
    added = json.loads((output / "tokenizer.json").read_text())["added_tokens"]
    assert sum(token["content"] == "<|Reward|>" for token in added) == 1


@pytest.mark.slow
def test_broken_media_are_left_out_and_named(tmp_path: Path, cli: Cli) -> None:
    pairs = brightness_pairs(tmp_path, 30)
    (tmp_path / "4b.png").write_bytes(b"")
    done = cli(*train_command(pairs, tmp_path / "o", "--part", "heads", "--steps", 2))
    assert done.returncode == 0, done.stderr
    assert "4b.png is empty" in done.stderr


def test_too_few_pairs_for_a_step(pairs: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli(*train_command(pairs, tmp_path / "o", "--part", "heads", "--batch-size", 64))
    assert done.returncode == 1
    assert "fewer than one step needs: 64" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sigma", ["plain", "aware"])
def test_sigma_learns(pairs: Path, tmp_path: Path, cli: Cli, sigma: str) -> None:
    output = tmp_path / "o"
    done = cli(*train_command(pairs, output, "--part", "heads", "--steps", 20, "--sigma", sigma))
    assert done.returncode == 0, done.stderr
    # Plain trains sigma by its own term; aware, by the pair loss that holds it.
    term = "sigma" if sigma == "plain" else "pairs"
    terms = [line[term] for line in metrics(output) if term in line]
    assert terms[-1] < terms[0]
