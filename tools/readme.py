"""Run the commands of README.md and docs/, in order, and compare their outputs with the pages.

python tools/readme.py      writes the outputs into the pages, and the reference docs/cli.md
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from librehps_cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README, CLI = ROOT / "README.md", DOCS / "cli.md"
# Pages share one folder: each page uses the files that the pages before it have written.
NAMES = (
    "quickstart", "score", "prompts", "filter", "best-of-n", "compare", "explain", "leaderboard",
    "files", "judge", "preferences", "training", "machines", "scale", "server", "rewards", "python",
    "models", "faq", "tag",
)  # fmt: skip
PAGES = (README, *(DOCS / f"{name}.md" for name in NAMES))
FENCE = re.compile(r"^```(sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands that install, need a network, run this suite, or have a smaller form in other tests.
NOT_RUN = (
    "git clone",
    "cd librehps",
    "python3 -m venv",
    ". .venv",
    "sudo ",
    "hf download",
    "pip install",
    "make ",
    "ACCELERATE_USE_CPU=true torchrun",
    "librehps score outputs/manifest.csv --engine ray",
    "librehps serve",
    # Takes a quarter of an hour.
    "python benchmarks/scale.py",
    # Later pages use the files where they are.
    "librehps filter scores.parquet --max overall=0.2 --move-to",
    # Goes on until Ctrl-C.
    "librehps score outputs -o scores.parquet --prompt-from sidecar --watch",
)
# Figures move a little from one processor to another: by so much of themselves, or so much.
RELATIVE, ABSOLUTE = 0.02, 0.025


@dataclass(frozen=True)
class Command:
    """A command of a page, and the output on the page (None: the page shows no output)."""

    text: str
    printed: str | None


def commands(page: str) -> list[Command]:
    """Return every command of the page's `sh` and `console` blocks, in order."""
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


Runner = Callable[..., subprocess.CompletedProcess[str]]
# What only a shell understands.
SYNTAX = re.compile(r"[|<>;&$`*?]")


class Shell:
    """A folder with the examples, as in a clone, where commands run; a repeated one runs once."""

    def __init__(
        self, folder: Path, python: Sequence[str] = (sys.executable,), here: Runner | None = None
    ) -> None:
        """Plain lines `librehps ...` go to `here` if given, which runs them in this process."""
        self.folder = folder
        self._here = here
        self.finished: dict[str, subprocess.CompletedProcess[str]] = {}
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
            # A CPU with bfloat16 arithmetic would print other scores.
            "LIBREHPS_DTYPE": "float32",
            # The pages score the same files again and again; a row from the cache is the same row.
            "LIBREHPS_CACHE": str(folder / ".cache"),
        }

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        if exported := re.fullmatch(r"export (\w+)=(\S+)", text):
            self.environment[exported[1]] = exported[2]
        # Pages repeat the first steps, so that each can be read alone.
        if text not in self.finished:
            self.finished[text] = self._run(text)
        return self.finished[text]

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        if self._here and text.startswith("librehps ") and not SYNTAX.search(text):
            with chdir(self.folder):
                return self._here(tuple(shlex.split(text)[1:]), **self.environment)
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
    """Return True if two outputs are equal but for bars and small differences in numbers."""
    one, two = (re.sub(r"[▏▎▍▌▋▊▉█]", " ", text).split() for text in (said, printed))
    return len(one) == len(two) and all(map(_same, one, two))


def _same(a: str, b: str) -> bool:
    try:
        x, y = (float(text.rstrip("%")) / (100 if text.endswith("%") else 1) for text in (a, b))
    except ValueError:
        return a == b
    return abs(x - y) <= ABSOLUTE + RELATIVE * abs(x)


def with_outputs(page: str, shell: Shell) -> str:
    """Return the page with the outputs that its commands print now."""

    def block(match: re.Match[str]) -> str:
        parts = []
        for command in commands(match[0]):
            printed = command.printed or ""
            if is_run(command):
                done = shell.run(command.text)
                if done.returncode:
                    raise SystemExit(f"{command.text}\n{done.stderr}")
                printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
            shown = f"$ {command.text}\n{printed}" if match[1] == "console" else command.text + "\n"
            parts.append(shown)
        return f"```{match[1]}\n{''.join(parts)}```"

    return FENCE.sub(block, page)


def reference() -> str:
    """Return the text of docs/cli.md for the commands and flags as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        file, whole = Path(folder, "cli.md"), Path(folder, "whole.py")
        whole.write_text("from librehps_cli.main import every_command\napp = every_command()\n")
        subprocess.run(
            [sys.executable, "-m", "typer", whole, "utils", "docs",
             "--name", "librehps", "--output", file],
            check=True, capture_output=True,
        )  # fmt: skip
        helps = {command.name: command.help for command in COMMANDS}
        # Typer adds the type to an argument's name, `PATH... <list[str]>`, and cuts the helps that
        # it lists.
        text = re.sub(r"^(\* `[A-Z.]+) <\S+>`", r"\1`", file.read_text(), flags=re.MULTILINE)
        return re.sub(
            r"^\* `([a-z-]+)`: .*\.\.\.$",
            lambda listed: f"* `{listed[1]}`: {helps[listed[1]]}",
            text,
            flags=re.MULTILINE,
        )


def main() -> None:
    CLI.write_text(reference())
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(Path(folder))
        for page in PAGES:
            page.write_text(with_outputs(page.read_text(), shell))


if __name__ == "__main__":
    main()
