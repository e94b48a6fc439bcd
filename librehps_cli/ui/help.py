"""Help pages of the commands: sections of flags in two columns, or stacked where that is narrow."""

import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

INPUT, PROMPT, MEDIA, MODEL = "Input", "Prompt", "Media", "Model"
CONDITIONS = "Conditions"
CLUSTER, OUTPUT, MORE = "Cluster (Ray)", "Output", "More"
# Sections of single commands stand between these two.
FIRST, LAST = (INPUT, PROMPT), (MEDIA, MODEL, CLUSTER, OUTPUT, MORE)
MAX_WIDTH, MIN_WIDTH, STACKED_BELOW_WIDTH = 100, 40, 76
MAX_NAME_WIDTH, GAP = 24, 2

Function = TypeVar("Function", bound=Callable[..., Any])
Rows = list[tuple[str, str]]


def examples(*lines: str) -> Callable[[Function], Function]:
    """Return a decorator that adds example command lines to a command's help."""

    def attach(function: Function) -> Function:
        function.examples = lines  # type: ignore[attr-defined]
        return function

    return attach


def epilog(lines: tuple[str, ...]) -> str:
    """Return the examples as Markdown, as docs/cli.md prints them below the flags."""
    body = "\n".join(f"$ {line}" for line in lines)
    return f"**Examples**:\n\n```console\n{body}\n```"


class HelpCommand(TyperCommand):
    """A command whose `--help` is written by this module."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name: `[OPTIONS] PATH...`."""
        return ["[OPTIONS]", *(str(p.metavar) for p in self.get_params(ctx) if _is_argument(p))]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(help_page(self, ctx))


def help_page(command: Any, ctx: Any, commands: Rows | None = None) -> str:
    """Return the help page of a command, or of a group that has `commands`, for this terminal."""
    width = max(min(shutil.get_terminal_size().columns, MAX_WIDTH), MIN_WIDTH)
    usage = " ".join(["Usage:", ctx.command_path, *command.collect_usage_pieces(ctx)])
    parts = [_wrapped(usage, width, "  ")]
    parts += [_wrapped(text, width) for text in (command.help or "").split("\n\n")]
    sections = _sections(command, ctx)
    if commands is not None:
        sections = {"Commands": commands, **sections}
    parts += [_section(title, rows, width) for title, rows in sections.items()]
    if command.epilog:
        lines = re.findall(r"^\$ (.*)$", command.epilog, re.MULTILINE)
        shown = [f"  {part}" for line in lines for part in _continued(line, width - 2)]
        parts.append("\n".join([_heading("Examples"), *shown]))
    return "\n\n".join(parts) + "\n"


def _sections(command: Any, ctx: Any) -> dict[str, Rows]:
    """Return (names, help) of every parameter, by section, in the order of a help page."""
    found: dict[str, Rows] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            names, default = (
                (parameter.metavar, INPUT) if _is_argument(parameter) else (record[0], MORE)
            )
            title = getattr(parameter, "rich_help_panel", None) or default
            found.setdefault(title, []).append((names, _plain(record[1])))
    between = [title for title in found if title not in FIRST + LAST]
    return {title: found[title] for title in (*FIRST, *between, *LAST) if title in found}


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _plain(text: str) -> str:
    """Return a parameter's help with ranges as words: `x>=1` is left out, `0<=x<=9` is `0 to 9`."""
    text = re.sub(r"(\S+)<=x<=([^\s;\]]+)", r"\1 to \2", text)
    text = re.sub(r"(; )?x>=[^\s;\]]+", "", text)
    return " ".join(text.replace("[]", "").split())


def _section(title: str, rows: Rows, width: int) -> str:
    lines = [_heading(title)]
    if width < STACKED_BELOW_WIDTH:
        for names, text in rows:
            lines += [f"  {names}", *_indented(text, width, 6)]
        return "\n".join(lines)
    fitting = [len(names) for names, _ in rows if len(names) <= MAX_NAME_WIDTH]
    start = 2 + max(fitting, default=0) + GAP
    for names, text in rows:
        body = list(_indented(text, width, start)) or [""]
        if len(names) + 2 + GAP <= start:
            body[0] = f"  {names}".ljust(start) + body[0].lstrip()
        else:
            body.insert(0, f"  {names}")
        lines += body
    return "\n".join(line.rstrip() for line in lines)


def _indented(text: str, width: int, indent: int) -> Iterator[str]:
    yield from _wrapped(text, width, " " * indent, " " * indent).splitlines()


def _wrapped(text: str, width: int, later: str = "", first: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), width, initial_indent=first, subsequent_indent=later,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _continued(line: str, width: int) -> list[str]:
    """Return a command line as lines of at most `width`, each but the last ended by a backslash."""
    # A quoted text stays on one line: the indent would become part of it.
    held = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace(" ", "\0"), line)
    parts = _wrapped(held, width - 2, "    ").replace("\0", " ").splitlines()
    return [line] if len(line) <= width else [*(f"{part} \\" for part in parts[:-1]), parts[-1]]


def _heading(title: str) -> str:
    return typer.style(f"{title}:", bold=True)
