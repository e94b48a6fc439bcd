"""Every example runs, and the scripts that make examples."""

import subprocess
from pathlib import Path

import pytest

import forks
from conftest import EXAMPLES

# Examples of many steps, of which a test does one.
TRAINED = ("differentiable_reward.py", "grpo_toy.py")

# What each example says among other things.
SAID = {
    "best_of_n_loop.py": "good enough",
    "differentiable_reward.py": "after: held-out mu overall",
    "grpo_toy.py": "after: held-out mu overall",
    "grpo_reward.py": "step 4: reward -",
    "quickstart.py": "best of 7: match.png",
    "score_and_pick.py": "'match.png'",
}


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda f: f.name)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    if script.name == "grpo_reward.py":
        pytest.importorskip("trl")
    # The fewest steps that show that it runs.
    arguments = ["--steps", "1"] if script.name in TRAINED else []
    # As from the root of the repository, but for what it writes.
    (tmp_path / "examples").symlink_to(EXAMPLES)
    done = subprocess.run(
        [*forks.python(), script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert SAID[script.name] in done.stdout


def test_the_media_are_what_the_recipe_renders(tmp_path: Path) -> None:
    script = EXAMPLES / "tiny" / "media.py"
    subprocess.run([*forks.python(), script, "--out", tmp_path], check=True)
    for file in tmp_path.glob("*.png"):
        assert file.read_bytes() == (EXAMPLES / "media" / file.name).read_bytes()
    assert {f.name for f in tmp_path.iterdir()} == {f.name for f in (EXAMPLES / "media").iterdir()}


def test_a_sampling_loop_draws_at_least_once() -> None:
    example = [*forks.python(), EXAMPLES / "best_of_n_loop.py", "--most", "0"]
    done = subprocess.run(example, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--most is 1 or more" in done.stderr
