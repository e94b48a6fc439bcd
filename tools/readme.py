"""The commands of the README: found, run in order, and their outputs held against the page.

python tools/readme.py      writes the outputs of the README's commands into it, and docs/cli.md
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, CLI = ROOT / "README.md", ROOT / "docs" / "cli.md"
FENCE = re.compile(r"^```(sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Those that install, that are this very suite, or that other tests run in a smaller form.
NOT_RUN = (
    "pip install",
    "make ",
    "ACCELERATE_USE_CPU=true torchrun",
    "librehps score outputs/manifest.csv --engine ray",
    "librehps serve",
)
# Figures move a little from one processor to another: by so much of themselves, or so much.
RELATIVE, ABSOLUTE = 0.02, 0.025


@dataclass(frozen=True)
class Command:
    """A command of the page, and what the page says that it prints (None: nothing is said)."""

    text: str
    printed: str | None


def commands(page: str) -> list[Command]:
    """Every command of the page's `sh` and `console` blocks, in order."""
    found = []
    for kind, body in FENCE.findall(page):
        if kind == "sh":
            lines = [line for line in body.splitlines() if line.strip()]
            found += [Command(line, None) for line in lines]
        else:
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                text, _, printed = part.partition("\n")
                found.append(Command(text, printed))
    return found


class Shell:
    """Runs commands in a folder that has the examples, as a reader would in a clone."""

    def __init__(self, folder: Path, python: Sequence[str] = (sys.executable,)) -> None:
        self.folder = folder
        (folder / "examples").symlink_to(ROOT / "examples")
        scripts = folder / ".bin"
        scripts.mkdir()
        for name, words in (("librehps", "-m librehps_cli"), ("python", "")):
            script = scripts / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join(python)} {words} "$@"\n')
            script.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "COLUMNS": "80",
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        if exported := re.fullmatch(r"export (\w+)=(\S+)", text):
            self.environment[exported[1]] = exported[2]
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=300,
            check=False,
        )


def is_run(command: Command) -> bool:
    return not command.text.startswith(NOT_RUN)


def alike(said: str, printed: str) -> bool:
    """Whether two outputs are the same, but for small differences in figures and bars."""
    one, two = (re.sub(r"[▏▎▍▌▋▊▉█]", " ", text).split() for text in (said, printed))
    return len(one) == len(two) and all(map(_same, one, two))


def _same(a: str, b: str) -> bool:
    try:
        x, y = (float(text.rstrip("%")) / (100 if text.endswith("%") else 1) for text in (a, b))
    except ValueError:
        return a == b
    return abs(x - y) <= ABSOLUTE + RELATIVE * abs(x)


def with_outputs(page: str, folder: Path) -> str:
    """The page with what its commands really print."""
    shell = Shell(folder)

    def block(match: re.Match[str]) -> str:
        parts = []
        for command in commands(match[0]):
            printed = ""
            if is_run(command):
                done = shell.run(command.text)
                printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
            shown = f"$ {command.text}\n{printed}" if match[1] == "console" else command.text + "\n"
            parts.append(shown)
        return f"```{match[1]}\n{''.join(parts)}```"

    return FENCE.sub(block, page)


def reference() -> str:
    """docs/cli.md as the app has it now."""
    with tempfile.TemporaryDirectory() as folder:
        file, whole = Path(folder, "cli.md"), Path(folder, "whole.py")
        whole.write_text("from librehps_cli.main import every_command\napp = every_command()\n")
        subprocess.run(
            [sys.executable, "-m", "typer", whole, "utils", "docs",
             "--name", "librehps", "--output", file],
            check=True, capture_output=True,
        )  # fmt: skip
        # Typer adds the type to an argument's name: `PATH... <list[str]>`.
        return re.sub(r"^(\* `[A-Z.]+) <\S+>`", r"\1`", file.read_text(), flags=re.MULTILINE)


def main() -> None:
    CLI.write_text(reference())
    with tempfile.TemporaryDirectory() as folder:
        README.write_text(with_outputs(README.read_text(), Path(folder)))


if __name__ == "__main__":
    main()
