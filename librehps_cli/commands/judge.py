"""librehps judge: a local page on which people judge pairs."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer

from librehps_cli.ui.help import OUTPUT, examples
from librehps_cli.ui.load import prompt_keywords, source_keywords
from librehps_cli.ui.options import (
    Paths,
    PromptSourceOptions,
    Quiet,
    SourceFlags,
    grouped,
)
from librehps_cli.ui.output import Output

PAIRS, PAGE = "Pairs", "Page"


@dataclass(frozen=True)
class PairFlags:
    """Flags that say which pairs are asked."""

    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Pair media of different generators: a column, or `folder` for the first folder "
            "of the id (default: any two media of a prompt).",
            show_default=False,
            rich_help_panel=PAIRS,
        ),
    ] = None
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS",
            help="Ask about overall (the default), alignment, coherence, style or temporal. "
            "Repeatable.",
            show_default=False,
            rich_help_panel=PAIRS,
        ),
    ] = None
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            "-n",
            metavar="N",
            min=1,
            help="Pairs that each rater judges.",
            rich_help_panel=PAIRS,
        ),
    ] = 200
    repeat: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share of pairs asked a second time, to measure agreement.",
            rich_help_panel=PAIRS,
        ),
    ] = "10%"
    random: Annotated[
        bool,
        typer.Option(
            "--random",
            help="Draw pairs evenly (default: the most telling pair, by scores and answers).",
            rich_help_panel=PAIRS,
        ),
    ] = False
    seed: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Seed of random draws.", rich_help_panel=PAIRS),
    ] = 0


@dataclass(frozen=True)
class PageFlags:
    """Flags that set the page's rater and address."""

    rater: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the only rater (default: the page asks).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    no_open: Annotated[
        bool,
        typer.Option(
            "--no-open", help="Print the address, and open no browser.", rich_help_panel=PAGE
        ),
    ] = False
    host: Annotated[
        str,
        typer.Option(metavar="HOST", help="Address to listen on.", rich_help_panel=PAGE),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Port to listen on; 0: any free port.",
            rich_help_panel=PAGE,
        ),
    ] = 0
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the secret part of the address (default: a new one for each start).",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept browsers that reach the page by this host name. Repeatable.",
            show_default=False,
            rich_help_panel=PAGE,
        ),
    ] = None


@examples(
    "librehps judge scores.parquet --by folder --out judged.jsonl",
    "librehps judge outputs --prompt-from sidecar --pairs 60 --out judged.jsonl",
)
@grouped
def judge(
    paths: Paths,
    sources: SourceFlags,
    prompts: PromptSourceOptions,
    pairs: PairFlags,
    page: PageFlags,
    output: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The .jsonl file of judgements to write, or to continue.",
            rich_help_panel=OUTPUT,
        ),
    ],
    quiet: Quiet = False,
) -> None:
    """Judge pairs of media on a local page, and write a file for evaluate, calibrate and train.

    PATHS are scored files, or media with prompts. Ctrl-C ends the page; the same command continues.
    """
    from librehps.extras import require
    from librehps.judge.run import judge_pairs, share_of

    require("judge", "librehps judge")
    from librehps.serve.options import named_host, read_token

    out = Output(quiet, json=False)

    def ready(address: str, count: int) -> None:
        out.note(f"{count} possible pairs; judge at the address below, end with Ctrl-C")
        out.line(address)
        if not page.no_open:
            # A browser of the terminal returns only when it is closed.
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    judged = judge_pairs(
        paths,
        output,
        by=pairs.by,
        axes=pairs.axis or ("overall",),
        pairs=pairs.pairs,
        repeat=share_of(pairs.repeat),
        random=pairs.random,
        rater=page.rater,
        seed=pairs.seed,
        host=page.host,
        port=page.port,
        token=None if page.token_file is None else read_token(page.token_file),
        allowed_hosts=[named_host(name) for name in page.allowed_host or []],
        ready=ready,
        **prompt_keywords(prompts),
        **source_keywords(sources),
    )
    for line in judged.summary:
        out.note(line)
