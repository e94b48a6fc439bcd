"""Check that the commands and Python code of README.md and docs/ run, and print what is shown."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import forks
import in_process
import readme
from conftest import EXAMPLES, Cli
from serve_client import Server

# Parts of commands whose page shows no output, and quicker parts in their place: the steps of
# `train` and the arithmetic of bfloat16 have tests of their own.
PAIRS, FEW_PAIRS = "outputs/pairs.jsonl", "outputs/few.jsonl"
SHORTER = {
    f"librehps train {PAIRS}": f"librehps train --steps 4 {FEW_PAIRS}",
    " --dtype bfloat16": "",
}


def shorter(command: readme.Command) -> str:
    text = command.text
    for part, other in SHORTER.items():
        text = text.replace(part, other) if command.printed is None else text
    return text


def test_the_reference_of_the_commands_is_up_to_date() -> None:
    assert readme.CLI.read_text() == readme.reference(), "make reference writes the page again"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("jq") is None, reason="some commands use jq")
def test_every_command_runs_and_prints_what_is_said(tmp_path: Path) -> None:
    """Commands of pipes, globs and substitutions run in a shell, others within this process."""
    shell = readme.Shell(tmp_path, forks.python(), in_process.run)
    for page in readme.PAGES:
        for command in filter(readme.is_run, readme.commands(page.read_text())):
            done = shell.run(shorter(command))
            if (tmp_path / PAIRS).exists() and not (tmp_path / FEW_PAIRS).exists():
                lines = (tmp_path / PAIRS).read_text().splitlines(keepends=True)
                (tmp_path / FEW_PAIRS).write_text("".join(lines[:100]))
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


def test_the_python_of_the_pages_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(readme.ROOT / "examples")
    scored = ("-o", tmp_path / "scores.parquet", "--model", "tiny")
    assert cli("score", EXAMPLES / "media", "--prompt-from", "sidecar", *scored).returncode == 0
    server = Server.start("--model", "tiny")
    pages = "\n".join(page.read_text() for page in readme.PAGES)
    codes = re.findall(r"```python\n(.*?)```", pages, re.DOTALL)
    printed = ""
    try:
        for code in codes:
            done = subprocess.run(
                [*forks.python(), "-c", code.replace(":8000", f":{server.port}")],
                capture_output=True, text=True, cwd=tmp_path, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            printed += done.stdout
    finally:
        server.stop()
    assert len(codes) == 6
    for shown in ("a 0.99", "'overall': 0.82", " match.png\n"):
        assert shown in printed
