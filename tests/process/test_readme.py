"""What the README says is so."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import forks
import readme
from librehps_cli.main import app

PAGE = readme.README.read_text()


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    assert readme.CLI.read_text() == readme.reference(), "make docs writes it anew"


def test_every_command_is_in_the_readme() -> None:
    names = [command.name for command in app.registered_commands]
    assert len(names) > 8
    for name in names:
        assert f"librehps {name}" in PAGE, name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("jq") is None, reason="some of the README's commands use jq")
def test_every_command_runs_and_prints_what_is_said(tmp_path: Path) -> None:
    shell, ran = readme.Shell(tmp_path, forks.python()), 0
    for command in readme.commands(PAGE):
        if not readme.is_run(command):
            continue
        done = shell.run(command.text)
        assert done.returncode == 0, f"{command.text}\n{done.stderr}"
        assert "Traceback" not in done.stderr, command.text
        if command.printed is not None:
            assert readme.alike(command.printed, done.stdout), f"{command.text}\n{done.stdout}"
        ran += 1
    assert ran > 20


def test_a_lagging_output_is_noticed() -> None:
    said = "1  match.png  ██▌ 0.825  95.0%\n"
    assert readme.alike(said, "1  match.png  ██  0.823  94.1%\n")
    assert not readme.alike(said, "1  match.png  ██▌ 0.925  95.0%\n")
    assert not readme.alike(said, "1  other.png  ██▌ 0.825  95.0%\n")
    assert not readme.alike(said, "")


def test_what_is_not_run_exists() -> None:
    project = tomllib.loads((readme.ROOT / "pyproject.toml").read_text())
    extras = set(re.findall(r"'\.\[(\w+)\]'", PAGE))
    assert extras <= project["project"]["optional-dependencies"].keys()
    targets = set(re.findall(r"`?make ([\w-]+)", PAGE))
    makefile = (readme.ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for file in re.findall(
        r"python ((?:benchmarks|tools|examples)/\S+?\.py)", PAGE.replace("\n", " ")
    ):
        assert (readme.ROOT / file).is_file(), file
    for link in re.findall(r"\]\((docs/[^)#]+)\)", PAGE):
        assert (readme.ROOT / link).is_file(), link


def test_the_python_of_the_readme_runs() -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        done = subprocess.run(
            [*forks.python(), "-c", code],
            capture_output=True, text=True, cwd=readme.ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("a 0.99")
