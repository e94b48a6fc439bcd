"""Check that the commands and Python code of README.md and docs/ run, and print what is shown."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import forks
import readme


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    assert readme.CLI.read_text() == readme.reference(), "make reference writes the page again"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("jq") is None, reason="some commands use jq")
def test_every_command_runs_and_prints_what_is_said(tmp_path: Path) -> None:
    shell = readme.Shell(tmp_path, forks.python())
    for page in readme.PAGES:
        for command in filter(readme.is_run, readme.commands(page.read_text())):
            done = shell.run(command.text)
            assert done.returncode == 0, f"{page.name}: {command.text}\n{done.stderr}"
            assert "Traceback" not in done.stderr, f"{page.name}: {command.text}"
            if command.printed is not None:
                shown = f"{page.name}: {command.text}\n{done.stdout}"
                assert readme.alike(command.printed, done.stdout), shown
    assert len(shell.finished) > 20


def test_a_lagging_output_is_noticed() -> None:
    said = "1  match.png  ██▌ 0.825  95.0%\n"
    assert readme.alike(said, "1  match.png  ██  0.823  94.1%\n")
    assert not readme.alike(said, "1  match.png  ██▌ 0.925  95.0%\n")
    assert not readme.alike(said, "1  other.png  ██▌ 0.825  95.0%\n")
    assert not readme.alike(said, "")


def test_the_python_of_the_pages_runs() -> None:
    pages = "\n".join(page.read_text() for page in readme.PAGES)
    codes = re.findall(r"```python\n(.*?)```", pages, re.DOTALL)
    assert len(codes) == 2
    for code in codes:
        done = subprocess.run(
            [*forks.python(), "-c", code],
            capture_output=True, text=True, cwd=readme.ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("a 0.99")
