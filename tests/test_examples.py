"""LibreHPS-Tiny really ranks rendered scenes, and every example runs."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import EXAMPLES, Cli
from librehps import AXES, Item, LibreHPS
from librehps.evaluate.calibration import load_platt_calibrator
from librehps.model.locate import EMBEDDED

sys.path.insert(0, str(EXAMPLES / "tiny"))
import scenes

ROOT = EXAMPLES.parent
PROMPT = "a red circle left of a blue square"
# No seed of the training recipe, nor of its calibration.
SEED = 20_260


def test_the_weights_are_small_and_name_themselves(tiny: LibreHPS) -> None:
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) <= 8 << 20
    assert tiny.settings.model == "LibreHPS-Tiny"
    assert (tiny.settings.pixel_budget, tiny.settings.num_frames) == (128 * 128, 4)
    config = json.loads((EMBEDDED / "config.json").read_text())
    assert set(config["text_config"]["layer_types"]) == {"linear_attention", "full_attention"}


def test_the_calibration_is_of_these_weights(tiny: LibreHPS) -> None:
    beside, top = EMBEDDED / "calibration.json", ROOT / "calibration.json"
    assert beside.read_bytes() == top.read_bytes()
    fit = load_platt_calibrator(top).default
    assert (fit.model, fit.fingerprint) == (tiny.settings.model, tiny.settings.fingerprint)
    assert tiny.calibrator() == fit


@pytest.mark.slow
def test_pairs_held_out(tiny: LibreHPS) -> None:
    """At least 0.70 pair accuracy on `overall` over 1,000 pairs of scenes never trained on."""
    rng = random.Random(SEED)
    items, gaps = [], []
    while len(gaps) < 1000:
        scene = scenes.random_scene(rng)
        both = [scenes.random_defects(rng, clips=False) for _ in range(2)]
        gap = scenes.badness(both[1]) - scenes.badness(both[0])
        if abs(gap) < 0.02:
            continue
        gaps.append(gap)
        pictures = [scenes.render(scenes.shown(scene, d, rng), d, rng, 128) for d in both]
        items += [Item(str(len(items)), p, scene.caption, "image") for p in pictures]
    rows = list(tiny.score_items(items, batch_size=32))
    assert all(row.status == "ok" for row in rows)
    mu = np.array([row.score.overall.raw_mean for row in rows if row.score])
    right = (mu[0::2] - mu[1::2] > 0) == (np.array(gaps) > 0)
    assert right.mean() >= 0.70


def test_no_defect_is_invisible() -> None:
    rng = random.Random(SEED)
    for _ in range(300):
        scene = scenes.random_scene(rng)
        clean = np.asarray(scenes.draw(scene, 128)).astype(int)
        for axis in ("alignment", "coherence", "style"):
            mild = {axis: 0.5 if axis == "alignment" else 0.05}
            shown = scenes.shown(scene, mild, rng)
            spoilt = np.asarray(scenes.render(shown, mild, rng, 128)).astype(int)
            assert (np.abs(spoilt - clean).max(-1) > 12).sum() > 40, (axis, scene)


def test_the_demo_picks_the_scene_that_matches(cli: Cli) -> None:
    done = cli("best-of-n", EXAMPLES / "media", "--prompt", PROMPT, "--model", "tiny")
    assert done.stdout == f"{EXAMPLES / 'media' / 'match.png'}\n"
    assert "on photographs it means nothing" in done.stderr
    table = cli("score", EXAMPLES / "media", "--prompt", PROMPT, "--model", "tiny", "--table")
    first = table.stdout.splitlines()[1].split()
    assert first[:2] == ["1", "match.png"]
    assert all(axis in table.stdout.splitlines()[0] for axis in AXES)


def test_each_clip_by_its_own_prompt(cli: Cli) -> None:
    media = EXAMPLES / "media"
    pair = (media / "steady.mp4", media / "jumping.mp4")
    done = cli("compare", *pair, "--prompt-from", "sidecar", "--model", "tiny")
    verdict = json.loads(done.stdout)
    assert verdict["winner"] == "a"
    assert verdict["calibrated"]


def test_the_media_are_what_the_recipe_renders(tmp_path: Path) -> None:
    script = EXAMPLES / "tiny" / "media.py"
    subprocess.run([sys.executable, script, "--out", tmp_path], check=True)
    for file in tmp_path.glob("*.png"):
        assert file.read_bytes() == (EXAMPLES / "media" / file.name).read_bytes()
    assert {f.name for f in tmp_path.iterdir()} == {f.name for f in (EXAMPLES / "media").iterdir()}


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda f: f.name)
def test_examples_run(script: Path) -> None:
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "best of 6: match.png" in done.stdout
