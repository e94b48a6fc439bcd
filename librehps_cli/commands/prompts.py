"""librehps prompts: what each item would be scored against, without loading a model."""

from typing import TYPE_CHECKING, Annotated

import typer

from librehps.files import counted
from librehps_cli.ui.errors import exit_code, print_unread
from librehps_cli.ui.help import INPUT, examples
from librehps_cli.ui.load import prompt_keywords, source_keywords
from librehps_cli.ui.options import (
    Json,
    Paths,
    PromptSourceOptions,
    Quiet,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output, safe

if TYPE_CHECKING:
    from collections import Counter

    from librehps.runs.prompts import ListedPrompt, PromptList


@examples(
    "librehps prompts examples/media --prompt-from sidecar",
    "librehps prompts examples/media --limit 3 --json",
)
@grouped
def prompts(
    paths: Paths,
    sources: SourceFlags,
    options: PromptSourceOptions,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="List only the first N items.", rich_help_panel=INPUT
        ),
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """List the prompt that each item would be scored against, without loading a model.

    Counts of sources, and of the reasons why items have no prompt, follow on
    stderr. The exit code is that of `librehps score`: 3 if some items have no prompt.
    """
    from librehps.runs.prompts import list_prompts

    out = Output(quiet, json)
    found = list_prompts(
        paths,
        **prompt_keywords(options),
        limit=limit,
        **source_keywords(sources),
    )
    for row in found:
        if out.json:
            out.records([row.record()])
        else:
            _print_row(row, out)
    _print_counts(found, out)
    unread = print_unread(found.source.passed_over, out)
    raise typer.Exit(exit_code(found.found, found.failed + unread))


def _print_row(row: "ListedPrompt", out: Output) -> None:
    """Print one line; line ends in a prompt are escaped."""
    record = row.record()
    source, text = record["source"] or "error", record["prompt"] or record["error"]
    out.line(safe(f"{record['id']}  {source}: {text}"))


def _print_counts(found: "PromptList", out: Output) -> None:
    """Print the number of prompts by source, and of items without a prompt by reason."""
    out.note(f"{counted(found.found, 'prompt')} found{_listed(found.sources)}")
    if found.failed:
        out.note(f"{counted(found.failed, 'item')} without a prompt:")
        for reason, count in found.reasons.most_common():
            out.note(f"  {count}: {reason}")
    for note in found.notes():
        out.note(note)


def _listed(counts: "Counter[str]") -> str:
    parts = [f"{count} from {name}" for name, count in counts.most_common()]
    return f": {', '.join(parts)}" if parts else ""
