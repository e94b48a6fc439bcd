"""Help of every command: readable on narrow terminals, with examples that run."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

import forks
from conftest import EXAMPLES, Cli
from librehps_cli.main import COMMANDS, every_command

NAMES = [command.name for command in COMMANDS]
# Examples that do not end, or take long.
NOT_RUN = ("librehps serve", "librehps judge", "librehps bench --config 47m", "librehps calibrate")
# A long default, which a narrow page must not cut off.
MODEL_ID = "LibreHPS/LibreHPS-4B-v1.1"


def examples(page: str) -> list[str]:
    """Return the command lines of a help page, with continued lines joined."""
    _, _, text = page.partition("\nExamples:\n")
    lines = re.sub(r" \\\n\s+", " ", text).splitlines()
    return [line.strip() for line in lines if line.strip()]


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_a_help_page_fits_the_terminal(cli: Cli, name: str, columns: int) -> None:
    done = cli(*name.split(), "--help", COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= columns
    # Neither cut off nor typed as Typer types flags, arguments and ranges.
    assert not re.search(r"…|<(bool|str|int|float|path|list)\b|x>=|BOOLEAN|\[\]", done.stdout)
    assert ("--model" in done.stdout) == (MODEL_ID in done.stdout) or not name


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_broken(cli: Cli, name: str) -> None:
    narrow, wide = (
        cli(name, "--help", COLUMNS=columns).stdout.replace(" \\\n", "\n")
        for columns in ("60", "100")
    )
    assert narrow.split() == wide.split()


@pytest.mark.parametrize("name", NAMES)
def test_sections_are_in_order(cli: Cli, name: str) -> None:
    page = cli(name, "--help", COLUMNS="100").stdout
    titles = re.findall(r"^([A-Z][\w ()]+):$", page, re.MULTILINE)
    order = ["Input", "Prompt", "Media", "Model", "Cluster (Ray)", "Output", "More", "Examples"]
    assert [title for title in titles if title in order] == [t for t in order if t in titles]


def test_every_flag_has_a_help() -> None:
    for name, command in get_command(every_command()).commands.items():
        assert [p.name for p in command.params if not p.help] == [], name


@pytest.mark.parametrize("name", NAMES)
def test_no_quoted_text_of_an_example_is_broken(cli: Cli, name: str) -> None:
    page = cli(name, "--help", COLUMNS="50").stdout
    assert all(line.count('"') % 2 == 0 for line in page.partition("\nExamples:\n")[2].splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_two_examples(cli: Cli, name: str) -> None:
    lines = examples(cli(name, "--help", COLUMNS="60").stdout)
    assert len(lines) == 2
    assert all(line.startswith(f"librehps {name} ") for line in lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: examples, outputs and a scored file."""
    made = tmp_path_factory.mktemp("help")
    (made / "examples").symlink_to(EXAMPLES)
    script = EXAMPLES / "tiny" / "outputs.py"
    subprocess.run([*forks.python(), script, made / "outputs", "--prompts", "6"], check=True)
    return made


@pytest.fixture
def scored(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    if not Path("scores.parquet").exists():
        done = cli("score", "outputs/manifest.csv", "-m", "tiny", "-o", "scores.parquet")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_examples_run(cli: Cli, scored: Path, name: str) -> None:
    for line in examples(cli(*name.split(), "--help").stdout):
        if not line.startswith(NOT_RUN):
            done = cli(*_words(line))
            assert done.returncode == 0, f"{line}\n{done.stderr}"


def _words(line: str) -> list[str]:
    """Return the words of a command line after `librehps`, with globs replaced as a shell does."""
    words = [sorted(map(str, Path().glob(w))) if "*" in w else [w] for w in shlex.split(line)]
    return [os.fspath(word) for group in words[1:] for word in group]
