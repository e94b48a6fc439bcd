"""The life of a run that writes a folder of parts: start, resume, finish."""

import secrets
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from librehps.errors import EngineError, UsageError
from librehps.runs.item_json import Listed
from librehps.runs.job import Counts, Job, changed_source, lacking_columns
from librehps.runs.journal import ERROR, NEW, OK, SEEDING
from librehps.runs.ray.arrow import INDEX
from librehps.scores.columns import chosen_columns
from librehps.scores.markers import DONE_FILE
from librehps.scores.parquet import schema_of
from librehps.scores.parts import Parts, check_folder, part_files
from librehps.settings import Settings

MAX_NAMED_ITEMS = 5

# A function that takes a function listing the items to score as (index, JSON of the listing), and
# yields tables of scored rows in any order.
ScoreTables = Callable[[Callable[[], Iterator[tuple[int, str]]]], Generator[Any, None, None]]


class PartsJob(Job):
    """A scoring run that writes a folder of parts; rows of incomplete parts are scored again."""

    _keeps_rows = False

    def _check(self, output: Path) -> None:
        check_folder(output)

    def _is_there(self) -> bool:
        return bool(part_files(self.output)) or (self.output / DONE_FILE).exists()

    @property
    def _is_finished(self) -> bool:
        return (self.output / DONE_FILE).exists() and not self.journal.is_frozen

    def begin(
        self,
        settings: Settings,
        request: Mapping[str, Any],
        listed: Listed | None,
        columns: Sequence[str] | str,
    ) -> None:
        """Start or continue the run like `Job.begin`; create the folder, find complete parts."""
        reuses_output = self.reuses_output
        if self.resumes and self._is_there() and not (self.is_started or self._is_finished):
            raise UsageError(
                f"cannot resume {self.output}: {self.journal.folder} not found",
                hint="Restore this folder, or use --overwrite to start over.",
            )
        super().begin(settings, request, listed, columns)
        run = self.journal.run
        kinds = chosen_columns(columns, run["own_columns"], settings.axes)
        first = self.output / "part"
        self._schema = schema_of(settings, kinds, run["request"], first)
        if "run" not in run:
            done = Parts(self.output, run["total"], "").done() if reuses_output else {}
            run["run"] = done.get("run") or secrets.token_hex(6)
            if not reuses_output:
                self.journal.write_run()
        self.parts = Parts(self.output, run["total"], run["run"])
        if reuses_output:
            self._check_items()
        self.parts.begin()
        self._read_finished()

    def _finished_rows(self, columns: Sequence[str] | str, settings: Settings) -> None:
        """Return None: no row has to be copied out of its part."""

    def check_names(self, columns: Sequence[str] | str, settings: Settings) -> None:
        """Raise UsageError for columns that the complete folder lacks."""
        kinds = chosen_columns(columns, {}, settings.axes) if isinstance(columns, str) else columns
        there = pq.read_schema(self._origin_file()).names
        if lacking := [name for name in kinds if name not in there]:
            raise lacking_columns(self.output, lacking)

    def _origin_file(self) -> Path:
        files = part_files(self.output)
        if not files:
            raise UsageError(
                f"{self.output} contains no parts", hint="Use --overwrite to start over."
            )
        return files[0]

    def finished_counts(self) -> Counts:
        """Return the number of rows of the complete folder, by status."""
        done = Parts(self.output, 0, "").done()
        files = part_files(self.output) if done["errors"] else []
        return Counts(done["ok"], done["errors"], _error_types(files))

    @property
    def kept(self) -> Counts:
        """The rows of an earlier call that are not scored again."""
        return self._kept

    @property
    def remaining(self) -> int:
        """The number of items still to score."""
        return int(np.count_nonzero(self._todo))

    def run_parts(self, score: ScoreTables) -> Generator[Any, None, None]:
        """Yield tables of scored rows as they arrive; write each part once it is complete."""
        waiting: dict[int, list[Any]] = {}
        with closing(score(self._left)) as tables:
            for arrived in tables:
                table = _only_new(arrived, self._todo)
                indices = table[INDEX].to_numpy()
                self._todo[indices] = False
                firsts = indices // self.parts.rows * self.parts.rows
                for first in np.unique(firsts).tolist():
                    waiting.setdefault(first, []).append(table.filter(pa.array(firsts == first)))
                    if not self._todo[slice(*self.parts.bounds(first))].any():
                        self._write(first, waiting.pop(first))
                yield table

    def _left(self) -> Iterator[tuple[int, str]]:
        if not self.is_incomplete:
            return
        wanted = {NEW, ERROR} if self.retries else {NEW}
        yield from (entry for entry in self.journal.entries(wanted) if self._todo[entry[0]])

    @property
    def is_incomplete(self) -> bool:
        """True if items are still without a row."""
        return bool(self._todo.any())

    def finish(self, settings: Settings, columns: Sequence[str] | str) -> None:
        """Mark the folder as complete, then delete the journal; the arguments are ignored.

        Raises EngineError, naming the items, where items have no row.
        """
        if self.is_incomplete:
            raise self._missing(np.flatnonzero(self._todo))
        if not self.parts.total:
            # Settings and request are stored in a part, so an empty shard needs one.
            self.parts.write(0, self._schema.empty_table(), 0)
        self.parts.finish()
        self.journal.delete()

    def _write(self, first: int, pieces: list[Any]) -> None:
        names = [*self._schema.names, INDEX]
        table = pa.concat_tables(pieces)
        errors = pc.sum(pc.equal(table["status"], "error")).as_py() or 0
        tables = [table.select(names)]
        if first in self._whole:
            # Only the failed rows of this part were scored again.
            path = self.parts.path(first)
            before = pq.read_table(path).append_column(INDEX, _indices(first, self._whole[first]))
            tables.append(before.filter(pc.equal(before["status"], "ok")).select(names))
        table = pa.concat_tables(tables).sort_by(INDEX)
        start, after = self.parts.bounds(first)
        if not np.array_equal(table[INDEX].to_numpy(), np.arange(start, after)):
            raise EngineError(
                f"{self.parts.path(first)}: rows are missing or duplicate",
                hint="Continue from the complete parts with --resume.",
            )
        table = table.drop_columns([INDEX]).cast(self._schema)
        self.parts.write(first, table.replace_schema_metadata(self._schema.metadata), errors)

    def _check_items(self) -> None:
        """Raise UsageError where the ids in a complete folder differ from the listed items."""
        try:
            self._check_columns("id", "status")
            ids = (i for f in part_files(self.output) for i in _column(f, "id"))
            for found, pair in zip_longest(ids, self.journal.items({NEW})):
                if pair is None or found != pair[1].id:
                    raise changed_source(self.output, found, pair and pair[1].id)
        except UsageError:
            self.journal.delete()
            raise
        del self.journal.run[SEEDING]
        self.journal.write_run()

    def _read_finished(self) -> None:
        """Set the status of every row in complete parts."""
        parts = self.parts.whole()
        self._whole = {first: part.rows for first, part in parts.items()}
        if parts:
            self._check_columns(*(["status"] if self.retries else []))
        ok = errors = 0
        for first, part in parts.items():
            ok, errors = ok + part.ok, errors + part.errors * (not self.retries)
            self.journal.status[first : first + part.rows] = bytes([OK]) * part.rows
            if self.retries and part.errors:
                for at, status in enumerate(_column(self.parts.path(first), "status")):
                    self.journal.status[first + at] = ERROR if status == "error" else OK
        files = [self.parts.path(first) for first, part in parts.items() if part.errors]
        kinds = Counter[str]() if self.retries else _error_types(files)
        self._kept = Counts(ok, errors, kinds)
        wanted = [NEW, ERROR] if self.retries else [NEW]
        self._todo = np.isin(np.frombuffer(self.journal.status, np.uint8), wanted)

    def _check_columns(self, *needed: str) -> None:
        names = pq.read_schema(part_files(self.output)[0]).names
        lacking = [name for name in needed if name not in names]
        if lacking:
            raise lacking_columns(self.output, lacking)
        if names != self._schema.names:
            differ = sorted({*names} ^ {*self._schema.names})
            raise UsageError(
                f"cannot resume {self.output}: columns differ: {', '.join(differ)}",
                hint="Use the same --columns, or --overwrite to start over.",
            )

    def _missing(self, indices: Any) -> EngineError:
        first = set(indices[:MAX_NAMED_ITEMS].tolist())
        names = ", ".join(i.id for at, i in self.journal.items({NEW, ERROR}) if at in first)
        return EngineError(
            f"{len(indices)} items have no row: {names}", hint="Score them with --resume."
        )


def _only_new(table: Any, todo: Any) -> Any:
    """Return the rows of items in `todo`, each once; a repeated task may send a row twice."""
    indices = table[INDEX].to_numpy()
    _, places = np.unique(indices, return_index=True)
    fresh = np.zeros(len(indices), bool)
    fresh[places] = todo[indices[places]]
    return table if fresh.all() else table.filter(pa.array(fresh))


def _indices(first: int, rows: int) -> Any:
    return pa.array(np.arange(first, first + rows))


def _error_types(files: Sequence[Path]) -> Counter[str]:
    """Return the number of failed rows by error type, over files with the column error_type."""
    found: Counter[str] = Counter()
    for file in files:
        if "error_type" in pq.read_schema(file).names:
            found.update(kind for kind in _column(file, "error_type") if kind)
    return found


def _column(file: Path, name: str) -> list[Any]:
    values: list[Any] = pq.read_table(file, columns=[name])[name].to_pylist()
    return values
