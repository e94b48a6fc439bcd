"""A run with an output file: begun, taken up again, finished."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from librehps.engine.journal import ERROR, NEW, Journal, journal_of
from librehps.engine.listing import Listed
from librehps.errors import UsageError
from librehps.pipeline.row import to_full_record
from librehps.settings import Settings
from librehps.sink.open import check_suffix, open_sink
from librehps.sink.schema import chosen_columns
from librehps.types import Item, ScoredRow

Record = dict[str, Any]
# Seconds between two times that the rows are forced to the disk itself.
COMMIT_EVERY = 2.0


class Scores(Protocol):
    """How items become rows, in order."""

    def __call__(self, items: Iterable[Item]) -> Iterator[ScoredRow]: ...


class Job:
    """Scores a source into `output`; use it in a `with` block.

    Raises UsageError where an output or journal is there and neither `resume` nor `overwrite` is
    given. `retry_errors` resumes too, and does the rows again that say error.
    """

    def __init__(
        self, output: Path, *, resume: bool, retry_errors: bool = False, overwrite: bool = False
    ) -> None:
        check_suffix(output)
        if overwrite and (resume or retry_errors):
            raise UsageError("--overwrite begins anew: it cannot go with --resume, --retry-errors")
        self.output, self._overwrite = output, overwrite
        self._resume, self._retry = resume or retry_errors, retry_errors
        self.journal = Journal(journal_of(output))
        begun = self.journal.is_frozen
        if not (self._resume or overwrite):
            hint = "--resume goes on with it, --overwrite begins anew."
            if begun:
                raise UsageError(f"a run that writes {output} has not finished", hint=hint)
            if output.exists():
                raise UsageError(f"{output} exists", hint="Give another name, or --overwrite.")
        self.is_begun = begun and not overwrite
        self.is_complete = output.exists() and not begun and self._resume and not retry_errors
        self.redoes = retry_errors and output.exists() and not begun

    def __enter__(self) -> "Job":
        if self._overwrite and self.journal.folder.exists():
            self.journal.delete()
        self.journal.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self.journal.is_frozen:
            self.journal.close()
        else:
            # Nothing was scored: what is there is of no use to anyone.
            self.journal.delete()

    def begin(self, settings: Settings, request: Mapping[str, Any], listed: Listed | None) -> None:
        """Freeze the source, or check that the run before was asked for the same.

        `listed` is needed where no run was begun.

        Raises UsageError, naming what differs.
        """
        facts = {"settings": settings.record(), "request": dict(request)}
        if self.is_begun:
            for name, now in facts.items():
                _check_same(self.journal.run[name], now, name, self.journal.folder)
            return
        assert listed is not None  # noqa: S101 - only a begun run has its listing already
        self.journal.freeze(listed, facts)

    def seed(self, rows: Iterable[Record]) -> None:
        """Take over the rows of a complete output; raises UsageError where the source changed."""
        items = self.journal.items({NEW})
        for row, (index, item) in zip_longest(rows, items, fillvalue=(-1, None)):
            found = row["id"] if isinstance(row, dict) else "nothing"
            wanted = "nothing" if item is None else item.id
            if item is None or not isinstance(row, dict) or found != wanted:
                self.journal.delete()
                raise UsageError(
                    f"{self.output} has {found!r} where the source has {wanted!r}",
                    hint="--retry-errors needs the source as it was; --overwrite begins anew.",
                )
            self.journal.append(index, row, item.extra)

    @property
    def left(self) -> int:
        """Items still to score."""
        new, _, failed = self.journal.counts()
        return new + failed * self._retry

    def run(self, score: Scores) -> Iterator[ScoredRow]:
        """Score what is left; each row is journalled before it is given."""
        indices: list[int] = []
        wanted = {NEW, ERROR} if self._retry else {NEW}

        def items() -> Iterator[Item]:
            for index, item in self.journal.items(wanted):
                indices.append(index)
                yield item

        digest, committed = self._digest(), time.monotonic()
        for row in score(items()):
            record = to_full_record(row, digest)
            self.journal.append(indices.pop(0), record, row.item.extra)
            if time.monotonic() - committed > COMMIT_EVERY:
                self.journal.commit()
                committed = time.monotonic()
            yield row
        self.journal.commit()

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Write the output from the journal, which is then gone."""
        kinds = chosen_columns(columns, self.journal.run.get("own_columns", {}))
        with open_sink(self.output, settings, kinds) as sink:
            for record, own in self.journal.rows():
                sink.write({**record, **own})
        self.journal.delete()

    def _digest(self) -> str:
        return Settings(**self.journal.run["settings"]).digest


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], what: str, place: Path) -> None:
    differ = sorted(k for k in {**before, **now} if before.get(k) != now.get(k))
    if differ:
        raise UsageError(
            f"{place} was begun with other {what}: "
            + "; ".join(f"{k} {before.get(k)!r}, now {now.get(k)!r}" for k in differ),
            hint="Give the same again, or --overwrite to begin anew.",
        )
