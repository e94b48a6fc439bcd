"""Compare media under one prompt, or the pairs of a file; each media file is scored once."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from librehps.choices import PairsFormat, PromptFrom
from librehps.decide.calibrators import Calibrator, fit_for
from librehps.decide.compare import Comparison, compare_rows, judged
from librehps.decide.probability import Platt
from librehps.errors import UsageError
from librehps.items.files import file_item
from librehps.media.media import Media
from librehps.media.remarks import notes_of
from librehps.preferences.column_names import PairColumns
from librehps.preferences.media import Key, items_of, keys_of
from librehps.preferences.pairs import Pair
from librehps.preferences.read import read_unjudged
from librehps.scores.score_table import ScoreTable
from librehps.settings import DEFAULT_MODEL
from librehps.storage.url_path import AnyPath, as_path
from librehps.types import Item, ScoredRow, media_text

if TYPE_CHECKING:
    from librehps.items.prompts import PromptFinder
    from librehps.scorer import LibreHPS

    # A loaded model, the name or folder of one, or a function that loads it when it is needed.
    Model = LibreHPS | str | Path | Callable[[], LibreHPS]

log = logging.getLogger("librehps")

Record = dict[str, Any]
# The columns of a verdict before and after those of the scores.
PAIR_COLUMNS, FIT_COLUMNS = ("pair_id", "prompt", "media_a", "media_b"), ("calibrated", "settings")
# Progress hook: takes (rows, total) and yields the rows unchanged.
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


def compare(
    media: Sequence[str | Path] | Sequence[ScoredRow],
    *,
    prompt: str | None = None,
    prompt_from: PromptFrom | None = None,
    keep_markup: bool = False,
    strip_weights: bool = False,
    model: "Model" = DEFAULT_MODEL,
    calibrator: Calibrator = None,
    symmetric: bool = True,
) -> Comparison:
    """Compare images, or videos, under one prompt: a verdict on two, a ranking of three or more.

    Paths are scored by `model` under `prompt`, or under the prompt that `prompt_from` finds.
    keep_markup, strip_weights: see `score_to`. Win probabilities come from `calibrator`, by default
    the model's own. Scored rows are compared without a model: win probabilities come from
    `calibrator`, else from the sigmas. Raises UsageError for mixed kinds or prompts, and ItemError
    where one of two cannot be scored.
    """
    rows = [row for row in media if isinstance(row, ScoredRow)]
    if rows:
        if len(rows) < len(media):
            raise UsageError("expected paths or scored rows, got both")
        return compare_rows(rows, calibrator=fit_for(calibrator, {}), symmetric=symmetric)
    from librehps.items.prompts import find_prompts

    paths = [as_path(path) for path in media if isinstance(path, str | Path)]
    finder = find_prompts(prompt, prompt_from, False, keep_markup, strip_weights)
    items = comparable_items(paths, finder)
    scorer = loaded(model)
    fit = fit_of(scorer, calibrator)
    return compare_rows(
        list(scorer.score_items(items)),
        calibrator=fit,
        symmetric=symmetric,
        axes=scorer.axes,
        settings=scorer.settings.digest,
    )


def comparable_items(paths: Sequence[AnyPath], finder: "PromptFinder") -> list[Item]:
    """Return one item for each path; raises UsageError for mixed kinds or prompts."""
    found = [file_item(path) for path in paths]
    for path, item in zip(paths, found, strict=True):
        if item.kind != found[0].kind:
            kinds = f"{paths[0]} ({found[0].kind}) and {path} ({item.kind})"
            raise UsageError(f"expected media of one kind, got {kinds}")
    contents = [Media(item.media) for item in found]
    items = list(map(finder, found, contents))
    for note in notes_of(Counter(name for content in contents for name in content.remarks)):
        log.warning(note)
    for item in items:
        if item.prompt != items[0].prompt:
            raise UsageError(
                f"expected one prompt, got {items[0].prompt!r} and {item.prompt!r}",
                hint="Give one prompt for all media with --prompt.",
            )
    # A file that is listed twice becomes two items.
    return [replace(item, id=f"{at}") for at, item in enumerate(items)]


@dataclass(frozen=True)
class ComparedPairs:
    """The verdict on each pair of a file, in the file's order, as `records` and as a `table`."""

    records: list[Record]
    settings: Record
    axes: tuple[str, ...]

    @property
    def errors(self) -> list[Record]:
        """The records of pairs that could not be judged."""
        return [record for record in self.records if record["status"] == "error"]

    @property
    def table(self) -> ScoreTable:
        """The records as a score table."""
        from librehps.scores.table import table_of

        return ScoreTable(table_of(self.records, self.axes), self.settings, "the pairs")


def compare_pairs(
    file: str | Path,
    *,
    model: "Model" = DEFAULT_MODEL,
    calibrator: Calibrator = None,
    symmetric: bool = True,
    explain: bool = False,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
    watch: Watch = lambda rows, total: rows,
) -> ComparedPairs:
    """Judge each row of a file of pairs (prompt, media_a, media_b), scoring each media once.

    `format`, `root`, `keep_markup` and `columns` as in `read_preferences`; `explain` adds the
    difference in mu on each axis.
    A pair that cannot be judged becomes a record with status error. Raises PreferenceError for an
    invalid file, and UsageError for a column of the file that has a reserved name.
    """
    pairs = read_unjudged(file, format, root, keep_markup, columns)
    scorer = loaded(model)
    check_names(pairs, scorer.axes, explain)
    fit, items = fit_of(scorer, calibrator), items_of(pairs)
    rows = list(watch(scorer.score_items(items.values()), len(items)))
    return judge_pairs(pairs, rows, scorer, fit, symmetric, explain)


def check_names(pairs: Sequence[Pair], axes: Sequence[str], explain: bool) -> None:
    """Raise UsageError for a column of the file with the name of one of the verdicts."""
    row = ScoredRow(Item("", "", None), None, None)
    reserved = {*PAIR_COLUMNS, *FIT_COLUMNS, *judged(row, row, axes, None, True, explain)}
    taken = sorted(reserved & {name for pair in pairs for name in pair.extra})
    if taken:
        raise UsageError(
            f"the pairs file has columns with reserved names: {', '.join(taken)}",
            hint=f"Rename these columns: --rename {taken[0]}=my_{taken[0]}",
        )


def judge_pairs(
    pairs: Sequence[Pair],
    scored: Sequence[ScoredRow],
    scorer: "LibreHPS",
    fit: Platt | None,
    symmetric: bool,
    explain: bool,
) -> ComparedPairs:
    """Return the verdict on each pair; `scored` are the rows of `items_of` these pairs."""
    check_names(pairs, scorer.axes, explain)
    rows: dict[Key, ScoredRow] = dict(zip(items_of(pairs), scored, strict=True))
    facts = dict(zip(FIT_COLUMNS, (fit is not None, scorer.settings.digest), strict=True))
    records = []
    for pair in pairs:
        one, two = (rows[key] for key in keys_of(pair))
        found = judged(one, two, scorer.axes, fit, symmetric, explain)
        records.append({**_pair_columns(pair), **found, **facts, **pair.extra})
    return ComparedPairs(records, scorer.settings.record(), scorer.axes)


def loaded(model: "Model") -> "LibreHPS":
    """Return the loaded model, after loading the model where only a name is given."""
    if isinstance(model, str | Path):
        from librehps.scorer import LibreHPS

        return LibreHPS.from_pretrained(model)
    return model() if callable(model) else model


def fit_of(scorer: "LibreHPS", calibrator: Calibrator) -> Platt | None:
    """Return the calibrator to use: the given one, its file, or the model's own."""
    if calibrator is None or isinstance(calibrator, str | Path):
        return scorer.calibrator(calibrator)
    return fit_for(calibrator, scorer.settings.record())


def _pair_columns(pair: Pair) -> Record:
    values = (pair.pair_id, pair.prompt, media_text(pair.media_a), media_text(pair.media_b))
    return dict(zip(PAIR_COLUMNS, values, strict=True))
