"""Judge pairs on a local page: the one call that the command makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from librehps.choices import PromptFrom
from librehps.errors import UsageError
from librehps.extras import require
from librehps.judge.gather import SourceOptions, gather
from librehps.judge.judgements import MAX_NAME_CHARS, Judgement, Judgements, plain_name
from librehps.judge.session import Plan, Session
from librehps.judge.summary import summarise
from librehps.runs.options import SourceKeywords
from librehps.runs.request import as_paths
from librehps.types import AXES


@dataclass(frozen=True)
class Judged:
    """The file of judgements after the page was closed, its rows, and lines that sum them up."""

    output: Path
    rows: Sequence[Judgement]
    summary: Sequence[str]


def judge_pairs(
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    by: str | None = None,
    axes: Sequence[str] = ("overall",),
    pairs: int = 200,
    repeat: float = 0.1,
    random: bool = False,
    rater: str | None = None,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    ready: Callable[[str, int], None] = lambda address, pairs: None,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    **source: Unpack[SourceKeywords],
) -> Judged:
    """Serve a page on which people judge pairs, until a signal; append the answers to `output`.

    `paths` are scored files, or media with prompts as for `score_to`. Pairs are of one prompt: of
    two generators named by the column `by` (`folder`: the first folder of the id), else of any two
    media. The most telling pair is asked first, or with `random`, and without scores and `by`, any.
    Each rater judges `pairs`, a share `repeat` of them twice. An existing `output` is continued.
    `rater` is the only rater; without a name, the page asks. `ready` receives the address and the
    number of possible pairs. Raises UsageError.
    """
    require("judge", "librehps judge")
    # Imported here: the packages of the extra may be missing.
    from librehps.judge.app import Page
    from librehps.judge.media import Shelf
    from librehps.judge.server import Place, run
    from librehps.serve.options import listen

    _check(axes, pairs, repeat)
    rater = None if rater is None else _named(rater)
    file = Path(output)
    options = Place(host, port, token, frozenset(allowed_hosts)).options()
    keywords = SourceOptions(
        by, axes[0], seed, prompt, prompt_from, keep_markup, strip_weights, source
    )
    judgements = Judgements(file, axes)
    try:
        pool = gather(as_paths(paths), file, keywords)
        shelf = Shelf(pool)
        session = Session(pool, judgements, Plan(pairs, repeat, random, seed), shelf.problem)

        def summary() -> list[str]:
            return summarise(tuple(judgements.rows), axes)

        page = Page(session, shelf, rater, summary)
        try:
            with listen(options) as listener:
                run(page, options, listener, lambda address: ready(address, pool.size))
        finally:
            shelf.close()
        return Judged(file, tuple(judgements.rows), summary())
    finally:
        judgements.close()


def share_of(text: str) -> float:
    """Return a share such as `10%` or `0.1` as a number; raises UsageError."""
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--repeat: expected a share such as 10%, got {text!r}") from None


def _named(rater: str) -> str:
    name = plain_name(rater)
    if name is None:
        raise UsageError(
            f"--rater: expected a name of 1 to {MAX_NAME_CHARS} printable characters, got {rater!r}"
        )
    return name


def _check(axes: Sequence[str], pairs: int, repeat: float) -> None:
    unknown = [axis for axis in axes if axis not in AXES]
    if unknown or not axes:
        raise UsageError(
            f"--axis: expected {', '.join(AXES)}, got {', '.join(unknown) or 'nothing'}"
        )
    if len(set(axes)) < len(axes):
        raise UsageError(f"--axis: the same axis twice ({', '.join(axes)})")
    if pairs < 1:
        raise UsageError(f"--pairs: expected at least 1, got {pairs}")
    if not 0 <= repeat <= 0.5:
        raise UsageError(f"--repeat: expected 0 % to 50 %, got {repeat:.0%}")
