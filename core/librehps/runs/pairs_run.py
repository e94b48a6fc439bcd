"""A comparison of a file of pairs that writes a file, with the journal of a scoring run."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from librehps import errors
from librehps.choices import PairsFormat
from librehps.decide.calibrators import Calibrator
from librehps.engine.engine import FindPrompt
from librehps.items.item_columns import ItemColumns, blocks, columns_of
from librehps.items.passed_over import PassedOver
from librehps.preferences.column_names import PairColumns
from librehps.preferences.media import items_of
from librehps.preferences.read import read_unjudged
from librehps.runs.compare import ComparedPairs, check_names, fit_of, judge_pairs
from librehps.runs.job import Job, local_output
from librehps.runs.local import LocalRun
from librehps.runs.observer import RunObserver
from librehps.runs.options import ModelOptions
from librehps.runs.summary import RunSummary
from librehps.scorer import LibreHPS
from librehps.settings import Settings
from librehps.storage.outputs import as_output
from librehps.storage.places import is_remote
from librehps.storage.url_path import AnyPath, address, as_path
from librehps.types import AXES, Item, Score, ScoreAxis, ScoredRow, media_text

Record = dict[str, Any]


@dataclass(frozen=True)
class PairsRequest:
    """A file of pairs, how the file is read, and an item for each of its media."""

    file: AnyPath
    media: Sequence[Item]
    format: PairsFormat
    root: str | None
    keep_markup: bool
    columns: PairColumns | None = None

    def check_output(self, output: AnyPath) -> None:
        """Raise UsageError where the output is the file of pairs."""
        if isinstance(self.file, Path) and output.absolute() == self.file.absolute():
            raise errors.UsageError(
                f"{output} is both an input and the output", hint="Choose another output."
            )

    def open_source(self) -> "PairsSource":
        """Return the media of the pairs as a source of items."""
        return PairsSource(self)

    def prompt_finder(self, has_prompts: bool) -> FindPrompt:
        """Return a function that leaves items as they are: each has the prompt of its pair."""
        return lambda item, content: item

    def facts(self) -> Record:
        """Return the request as JSON values; a resumed run must have the same values."""
        places = (str(self.file), self.root or str(self.file))
        is_fixed = all(is_remote(name) or Path(name).is_absolute() for name in places)
        named = {} if self.columns is None else {"columns": self.columns.facts()}
        return named | {
            "folder": None if is_fixed else str(Path.cwd()),
            "paths": [str(self.file)],
            "format": self.format,
            "root": self.root,
            "keep_markup": self.keep_markup,
        }


class PairsSource:
    """The media of the pairs, as the journal lists them: without bytes, which the file has."""

    has_prompts = True

    def __init__(self, request: PairsRequest) -> None:
        self._request = request

    def item_columns(self) -> Iterator[ItemColumns]:
        """Yield the items in the order of the pairs, many at a time."""
        media = self._request.media
        items = (replace(item, media=media_text(item.media) or "") for item in media)
        return map(columns_of, blocks(items))

    def facts(self) -> Mapping[str, Any]:
        """Return the facts of a source; each run reads the file, so that it must not change."""
        file = self._request.file
        return {
            "skipped": 0,
            "passed_over": PassedOver().record(),
            "own_columns": {},
            "has_prompts": True,
            "containers": [str(file)] if str(file) == address(file) else [],
            "dropped": [],
        }


class PairsJob(Job):
    """A run that scores the media of pairs, and writes the verdicts that `judge` gives."""

    def __init__(
        self,
        output: AnyPath,
        items: Sequence[Item],
        judge: Callable[[Sequence[ScoredRow]], ComparedPairs],
        **ways: bool,
    ) -> None:
        super().__init__(output, **{"resume": False, **ways})
        self._all, self._judge = items, judge
        self.found: ComparedPairs | None = None

    def _blocks(self, wanted: set[int]) -> Iterator[tuple[Sequence[int], Sequence[Item]]]:
        kept = [at for at, status in enumerate(self.journal.status) if status in wanted]
        yield kept, [self._all[at] for at in kept]

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the verdicts, then delete the journal; `columns` is ignored."""
        self.found = self._judge(list(self._rows(settings)))
        self.found.table.write(local_output(self.output), overwrite=True)
        self.journal.delete()

    def _rows(self, settings: Settings) -> Iterator[ScoredRow]:
        names = [f"{axis}{end}" for axis in settings.axes for end in ("", "_mu", "_sigma")]
        items = iter(self._all)
        for table in self.journal.rows.in_order(["kind", "error_type", "error", "scalar", *names]):
            for record in table.to_pylist():
                yield _row(next(items), record, settings.axes)


def _row(item: Item, record: Mapping[str, Any], axes: Sequence[str]) -> ScoredRow:
    """Return the scored row of an item from its columns in the journal."""
    if record["error_type"] is not None:
        kind: type[errors.ItemError] = getattr(errors, record["error_type"])
        return ScoredRow(item, record["kind"], None, error=kind(record["error"]))
    known = {
        axis: ScoreAxis(record[axis], record[f"{axis}_sigma"], record[f"{axis}_mu"])
        for axis in axes
        if record[f"{axis}_mu"] is not None
    }
    return ScoredRow(item, record["kind"], Score(known, record["scalar"]))


def compare_pairs_to(
    file: str | Path,
    output: str | AnyPath,
    *,
    model: ModelOptions | LibreHPS,
    calibrator: Calibrator = None,
    symmetric: bool = True,
    explain: bool = False,
    format: PairsFormat = "auto",
    root: str | Path | None = None,
    keep_markup: bool = False,
    columns: PairColumns | None = None,
    resume: bool = False,
    overwrite: bool = False,
    observer: RunObserver | None = None,
    stop: threading.Event | None = None,
) -> tuple[RunSummary, ComparedPairs | None]:
    """Judge the pairs of a file like `compare_pairs`, and write the verdicts to a file.

    Scores are kept in OUT.journal, so that `resume=True` continues an interrupted run. Returns the
    summary of the scored media, and the verdicts, None where no verdict was written.
    """
    pairs = read_unjudged(file, format, root, keep_markup, columns)
    # Before a journal is begun, which could not be continued with a renamed column.
    check_names(pairs, AXES, explain)
    items = list(items_of(pairs).values())

    def judge(rows: Sequence[ScoredRow]) -> ComparedPairs:
        scorer = run.loaded()
        job.check_settings(scorer.settings)
        return judge_pairs(pairs, rows, scorer, fit_of(scorer, calibrator), symmetric, explain)

    request = PairsRequest(
        as_path(file), items, format, None if root is None else str(root), keep_markup, columns
    )
    job = PairsJob(as_output(output), items, judge, resume=resume, overwrite=overwrite)
    run = LocalRun(
        request,
        job,
        observer=observer or RunObserver(),
        stop=stop or threading.Event(),
        model=model,
    )
    return run.run(), job.found
