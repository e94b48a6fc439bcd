"""The wheel holds all that scoring needs, and nothing of the tree is needed beside it."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import librehps
from conftest import EXAMPLES

ROOT = EXAMPLES.parent


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_scores_outside_the_tree(tmp_path: Path) -> None:
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path)
    run(sys.executable, *build, ROOT, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"librehps-{librehps.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "calibration.json"):
        assert f"librehps/embedded/{name}" in names
    assert "librehps/py.typed" in names
    for file in (ROOT / "core" / "librehps" / "report" / "templates").iterdir():
        assert f"librehps/report/templates/{file.name}" in names
    assert not any(name.startswith(("tests/", "examples/", "core/")) for name in names)
    place = tmp_path / "env"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=tmp_path)
    python = place / "bin" / "python"
    pip = ("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    run(sys.executable, *pip, cwd=tmp_path)
    # Dependencies come from this environment by path, without the .pth of an editable install.
    libraries = {"PYTHONPATH": sysconfig.get_paths()["purelib"]}
    where = run(
        python, "-c", "import librehps; print(librehps.__file__)", cwd=tmp_path, **libraries
    )
    assert str(place) in where
    command = (place / "bin" / "librehps", "score", EXAMPLES / "media", "--model", "tiny")
    out = run(*command, "--prompt-from", "sidecar", cwd=tmp_path, **libraries)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 9
    assert all(row["status"] == "ok" for row in rows)
